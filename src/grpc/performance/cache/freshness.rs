//! How long an answer is good for, and what makes it worthless before that.

use std::time::Duration;

use super::invalidation::Scopes;

/// Far beyond any use, and safe to add to a moment.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long an answer is served from the cache, and what makes it worthless before that. What is left open is as the
/// configuration has it: `cache_ttl` and `cache_stale_ttl`; no tags, no path.
///
/// ```
/// use std::time::Duration;
/// use millstream::Freshness;
///
/// let freshness = Freshness::new()
///     .ttl(Duration::from_secs(60))
///     .stale_while_revalidate(Duration::from_secs(600))
///     .tag("price list")
///     .path("tenant/42/pictures");
/// assert_ne!(freshness, Freshness::default());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct Freshness {
    pub(super) ttl: Option<Duration>,
    pub(super) stale: Option<Duration>,
    pub(super) scopes: Scopes,
}

impl Freshness {
    /// As the configuration has it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Served for so long. Zero: told to those who wait for it, and not stored.
    pub fn ttl(self, ttl: Duration) -> Self {
        Self { ttl: Some(ttl.min(LONGEST)), ..self }
    }

    /// Served for so long after that, while somebody computes it anew: one of those who ask, and one at a time.
    pub fn stale_while_revalidate(self, stale: Duration) -> Self {
        Self { stale: Some(stale.min(LONGEST)), ..self }
    }

    /// Worthless when [`invalidate_tag`](super::StreamCache::invalidate_tag) names this one. An answer has several; three
    /// and a path, or seven, are told apart: with more than that any invalidation makes it worthless.
    pub fn tag(mut self, name: &str) -> Self {
        self.scopes.add_tag(name);
        self
    }

    /// Worthless when [`invalidate_prefix`](super::StreamCache::invalidate_prefix) names this path or one above it. Its
    /// levels are divided by `/`, and the first four are told apart.
    pub fn path(mut self, path: &str) -> Self {
        self.scopes.add_path(path);
        self
    }
}
