//! How long answers are served, and what makes them worthless before that.

use super::*;

const MILLISECOND: Duration = Duration::from_millis(1);
const NANOSECOND: Duration = Duration::from_nanos(1);

fn lead(cache: &StreamCache, n: u8, now: Instant) -> Lead {
    match cache.join_at(key(n), || panic!("nobody to follow"), now) {
        Lookup::Lead(lead) => lead,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_answer_is_served_for_exactly_its_own_time() {
    let cache = cache(|c| c.cache_ttl = TTL);
    let start = Instant::now();
    for n in 1..100_u8 {
        let freshness = Freshness::new().ttl(u32::from(n) * MILLISECOND);
        lead(&cache, n, start).fresh(freshness).complete_at("brief".into(), start);
        cache.insert_at(key(100 + n), b"brief", freshness, start);
    }
    lead(&cache, 0, start).complete_at("as configured".into(), start);
    for n in 1..100_u8 {
        let end = start + u32::from(n) * MILLISECOND;
        for key in [key(n), key(100 + n)] {
            assert!(cache.get_at(&key, end - NANOSECOND).is_some());
            assert!(cache.get_at(&key, end).is_none());
        }
    }
    assert!(cache.get_at(&key(0), start + TTL - NANOSECOND).is_some());
    assert!(cache.get_at(&key(0), start + TTL).is_none());
}

#[test]
fn an_answer_without_time_is_not_stored_and_hides_what_was_there() {
    let cache = cache(|_| {});
    let now = Instant::now();
    let none = Freshness::new().ttl(Duration::ZERO);
    lead(&cache, 1, now).fresh(none).complete_at("told".into(), now);
    assert_eq!(cache.get_at(&key(1), now), None);
    cache.insert_at(key(1), b"old", Freshness::new(), now);
    cache.insert_at(key(1), b"new", none, now);
    assert_eq!(cache.get_at(&key(1), now), None);
    lead(&cache, 1, now).fresh(Freshness::new().ttl(Duration::MAX)).complete_at("long".into(), now);
    assert!(cache.get_at(&key(1), now).is_some());
}

#[test]
fn a_stale_time_from_the_configuration_comes_after_the_time_to_live() {
    let cache = cache(|c| (c.cache_ttl, c.cache_stale_ttl) = (TTL, MILLISECOND));
    let start = Instant::now();
    lead(&cache, 1, start).complete_at("stale".into(), start);
    let never = Freshness::new().stale_while_revalidate(Duration::ZERO);
    lead(&cache, 2, start).fresh(never).complete_at("never stale".into(), start);
    assert!(matches!(cache.join_at(key(1), || panic!(), start + TTL - NANOSECOND), Lookup::Hit(_)));
    let duty = lead(&cache, 1, start + TTL);
    assert!(matches!(cache.join_at(key(1), || panic!(), start + TTL), Lookup::Hit(_)));
    assert!(cache.get_at(&key(1), start + TTL + MILLISECOND - NANOSECOND).is_some());
    assert!(cache.get_at(&key(1), start + TTL + MILLISECOND).is_none());
    assert!(cache.get_at(&key(2), start + TTL).is_none());
    drop(duty);
}

#[test]
fn one_or_a_tag_or_a_prefix_or_all_are_invalidated() {
    type Forget = fn(&StreamCache);
    let ways: [(Forget, &[u8]); 6] = [
        (|cache| assert!(cache.invalidate(&key(1))), &[2, 3, 4]),
        (|cache| cache.invalidate_tag("red"), &[3, 4]),
        (|cache| cache.invalidate_prefix("tenant/42"), &[1, 2]),
        (|cache| cache.invalidate_prefix("/tenant/42/pictures/"), &[1, 2, 4]),
        (|cache| cache.invalidate_prefix("/"), &[]),
        (StreamCache::clear, &[]),
    ];
    for (forget, left) in ways {
        let cache = cache(|_| {});
        cache.insert_with(key(1), b"", Freshness::new().tag("red"));
        cache.insert_with(key(2), b"", Freshness::new().tag("blue").tag("red").path("tenant/7"));
        cache.insert_with(key(3), b"", Freshness::new().path("tenant/42/pictures"));
        cache.insert_with(key(4), b"", Freshness::new().path("tenant/42/sounds"));
        forget(&cache);
        let found: Vec<u8> = (1..=4).filter(|n| cache.get(&key(*n)).is_some()).collect();
        assert_eq!(found, left);
        cache.insert_with(key(1), b"", Freshness::new().tag("red").path("tenant/42/pictures"));
        assert!(cache.get(&key(1)).is_some(), "what comes later is good");
    }
}

#[test]
fn a_failure_that_is_invalidated_is_tried_again() {
    let cache = cache(|_| {});
    let now = Instant::now();
    lead(&cache, 1, now).fresh(Freshness::new().tag("red")).fail_at("broken".into(), TTL, now);
    assert!(matches!(cache.join_at(key(1), || panic!(), now), Lookup::Failure(why) if why == "broken"));
    assert_eq!(cache.get_at(&key(1), now), None);
    cache.invalidate_tag("red");
    lead(&cache, 1, now).complete_at("well".into(), now);
    assert_eq!(cache.get_at(&key(1), now).unwrap(), "well");
}

#[test]
fn compression_stops_for_answers_that_do_not_shrink_and_starts_again_when_they_do() {
    let cache = cache(|c| c.enable_cache_compression = true);
    let noise: Vec<u8> = (0..64_u8).flat_map(|n| *key(n).as_bytes()).collect();
    let zeros = vec![0; 100_000];
    let compressed = |value: &[u8]| {
        let before = cache.stats().compressed;
        (0..100).for_each(|n| cache.insert(key(n), value));
        assert_eq!(cache.get(&key(99)).unwrap(), value);
        cache.stats().compressed - before
    };
    // Time decides, and a busy machine takes some from whom it likes: so each has a few rounds.
    let comes =
        |what: &str, holds: &dyn Fn() -> bool| assert!((0..50).any(|_| holds()), "never came: {what}");
    comes("zeros are compressed", &|| compressed(&zeros) == 100);
    comes("it stops", &|| {
        // What zeros have saved has to fade first.
        (0..10).for_each(|_| assert_eq!(compressed(&noise), 0));
        compressed(&zeros) < 100
    });
    comes("it starts again", &|| compressed(&zeros) == 100);
}

#[test]
fn without_time_to_spare_nothing_is_compressed() {
    let cache = cache(|c| c.enable_cache_compression = true);
    for (spare, compressed) in [(true, 1), (false, 1), (true, 2)] {
        cache.spare_time(spare);
        cache.insert(key(1), &[7; 10_000]);
        assert_eq!(cache.get(&key(1)).unwrap(), [7; 10_000][..]);
        assert_eq!(cache.stats().compressed, compressed);
    }
}
