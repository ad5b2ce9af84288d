use super::*;

fn scopes(tags: &[&str], paths: &[&str]) -> Scopes {
    let mut scopes = Scopes::default();
    tags.iter().for_each(|tag| scopes.add_tag(tag));
    paths.iter().for_each(|path| scopes.add_path(path));
    scopes
}

fn invalidate_prefix(invalidations: &Invalidations, path: &str) {
    invalidations.invalidate(Scope::prefix(path).expect("the path has a level"));
}

#[test]
fn a_tag_makes_worthless_what_was_begun_before_and_carries_it_and_nothing_else() {
    let invalidations = Invalidations::new();
    let (red, blue, none) = (scopes(&["red"], &[]), scopes(&["blue", "round"], &[]), Scopes::default());
    let before = invalidations.now();
    invalidations.invalidate(Scope::tag("red"));
    let after = invalidations.now();
    assert!(invalidations.any_since(before, &red));
    assert!(!invalidations.any_since(after, &red));
    assert!(!invalidations.any_since(before, &blue));
    assert!(!invalidations.any_since(before, &none));
    invalidations.invalidate(Scope::tag("round"));
    assert!(invalidations.any_since(after, &blue));
    assert!(!invalidations.any_since(after, &red));
}

#[test]
fn a_prefix_makes_worthless_what_lies_below_it_and_nothing_beside_it() {
    let path = scopes(&[], &["/tenant/42//pictures/"]);
    for (prefix, hit) in [
        ("tenant", true),
        ("tenant/42", true),
        ("tenant/42/pictures", true),
        ("tenant/42/pictures/small", false),
        ("tenant/4", false),
        ("tenant/43", false),
        ("42", false),
        ("pictures", false),
    ] {
        let invalidations = Invalidations::new();
        let before = invalidations.now();
        invalidate_prefix(&invalidations, prefix);
        assert_eq!(invalidations.any_since(before, &path), hit, "{prefix}");
    }
    assert_ne!(Scope::tag("tenant"), Scope::prefix("tenant").unwrap());
    assert_eq!(Scope::prefix("//"), None);
}

#[test]
fn a_prefix_that_is_too_deep_makes_more_worthless_and_never_less() {
    let invalidations = Invalidations::new();
    let (deep, beside) = (scopes(&[], &["a/b/c/d/e/f"]), scopes(&[], &["a/b/c/d/x"]));
    let before = invalidations.now();
    invalidate_prefix(&invalidations, "a/b/c/d/e");
    assert!(invalidations.any_since(before, &deep));
    assert!(invalidations.any_since(before, &beside), "told apart by their first four levels");
    assert!(!invalidations.any_since(before, &scopes(&[], &["a/b/c/x"])));
}

#[test]
fn an_answer_with_more_scopes_than_it_can_carry_is_worthless_after_any_invalidation() {
    let invalidations = Invalidations::new();
    let names: Vec<String> = (0..MOST).map(|n| format!("tag {n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let full = scopes(&[&names[..], &names[..]].concat(), &[]);
    let overfull = scopes(&names, &["one/more"]);
    let before = invalidations.now();
    assert!(!invalidations.any_since(before, &overfull));
    invalidations.invalidate(Scope::tag("something else"));
    assert!(!invalidations.any_since(before, &full), "naming a tag twice costs nothing");
    assert!(invalidations.any_since(before, &overfull));
    assert!(!invalidations.any_since(invalidations.now(), &overfull));
    invalidations.invalidate(Scope::tag("tag 6"));
    assert!(invalidations.any_since(before, &full));
}
