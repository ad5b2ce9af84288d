//! What a computation came to, and for how long that is worth something.

use bytes::Bytes;

use super::super::{
    classes::Place,
    freshness::Freshness,
    invalidation::{Invalidations, Moment, Scopes},
};

/// What a computation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Answer(Bytes),
    /// Why there is no answer, in whatever form the leader put it.
    Failure(Bytes),
}

impl Verdict {
    pub(super) fn bytes(&self) -> &Bytes {
        let (Self::Answer(bytes) | Self::Failure(bytes)) = self;
        bytes
    }

    pub(in super::super) fn into_bytes(self) -> Bytes {
        let (Self::Answer(bytes) | Self::Failure(bytes)) = self;
        bytes
    }

    pub(super) fn is_failure(&self) -> bool {
        matches!(self, Self::Failure(_))
    }
}

/// What somebody who asks is content with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Wanted {
    Verdict,
    /// Failures of others are nothing to it.
    Answer,
}

impl Wanted {
    pub(super) fn is(self, failure: bool) -> bool {
        self == Self::Verdict || !failure
    }
}

/// A verdict, and what makes it worthless.
#[derive(Debug, Clone)]
pub(in super::super) struct Finding {
    pub(in super::super) verdict: Verdict,
    pub(super) begun: Moment,
    pub(super) scopes: Scopes,
}

impl Finding {
    /// Whether something that it depends on was invalidated after its computation began.
    pub(super) fn is_outdated(&self, invalidations: &Invalidations) -> bool {
        invalidations.any_since(self.begun, &self.scopes)
    }

    /// Whether it may be given to somebody who asks now.
    pub(in super::super) fn serves(&self, wanted: Wanted, invalidations: &Invalidations) -> bool {
        wanted.is(self.verdict.is_failure()) && !self.is_outdated(invalidations)
    }
}

/// How what a leader finds is kept.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Terms {
    pub(super) freshness: Freshness,
    pub(super) place: Place,
}
