//! What came out, for people ([`table`], [`html`]) and for programs ([`json`]).

pub(crate) mod chart;
pub(crate) mod html;
pub(crate) mod json;
pub(crate) mod table;
pub(crate) mod tricks;
