//! An address that may be none: `"off"`, since every key of the configuration has a value.

use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, Serializer, de::Error};

const NONE: &str = "off";

pub(super) fn serialize<S: Serializer>(addr: &Option<SocketAddr>, serializer: S) -> Result<S::Ok, S::Error> {
    match addr {
        Some(addr) => serializer.collect_str(addr),
        None => serializer.serialize_str(NONE),
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text == NONE {
        return Ok(None);
    }
    let wrong =
        |_| D::Error::custom(format!("expected an address such as \"127.0.0.1:9090\", or \"{NONE}\""));
    text.parse().map(Some).map_err(wrong)
}
