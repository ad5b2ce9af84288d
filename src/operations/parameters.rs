//! The parameters of one message: what was given, what holds by default, and errors that name value and range.

use std::{collections::HashMap, fmt::Display, ops::RangeInclusive, time::Duration};

use super::ParameterInfo;
use crate::grpc::performance::HandlerError;

/// The parameters of a message, seen through what its operation declares.
///
/// The getters take a declared name; asking for another is a mistake in the operation, and panics.
#[derive(Clone, Copy)]
pub struct Parameters<'a> {
    declared: &'static [ParameterInfo],
    given: &'a HashMap<String, String>,
}

impl<'a> Parameters<'a> {
    /// What was given to an operation that declares these.
    #[must_use]
    pub fn new(declared: &'static [ParameterInfo], given: &'a HashMap<String, String>) -> Self {
        Self { declared, given }
    }

    /// Every name that was given has to be one that is declared.
    ///
    /// # Errors
    /// The first name, in alphabetical order, that is not, with those that are, and the nearest.
    pub fn check_names(&self) -> Result<(), HandlerError> {
        let known: Vec<&str> = self.declared.iter().map(|parameter| parameter.name).collect();
        let Some(unknown) = self.given.keys().filter(|name| !known.contains(&name.as_str())).min() else {
            return Ok(());
        };
        let nearest = nearest(unknown, &known);
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Err(HandlerError::invalid_argument(format!(
            "there is no parameter `{unknown}`{nearest}; this operation takes {known}"
        )))
    }

    /// The names of the declared parameters, in alphabetical order, with the values in force.
    pub(super) fn in_force(&self) -> impl Iterator<Item = (&'static str, &'a str)> {
        let given = self.given;
        self.declared.iter().map(move |declared| {
            (declared.name, given.get(declared.name).map_or(declared.default, String::as_str))
        })
    }

    /// The value as it was given, or the default.
    ///
    /// # Panics
    /// When the operation does not declare the name.
    #[must_use]
    pub fn text(&self, name: &str) -> &'a str {
        let declared = self.declared.iter().find(|declared| declared.name == name);
        let default = declared.expect("an operation asks for what it declares").default;
        self.given.get(name).map_or(default, String::as_str)
    }

    /// A whole number.
    ///
    /// # Errors
    /// It is none, or out of range.
    pub fn integer(&self, name: &str, range: RangeInclusive<u32>) -> Result<u32, HandlerError> {
        let parsed = self.text(name).parse().ok().filter(|value| range.contains(value));
        parsed.ok_or_else(|| {
            self.wrong(name, format_args!("a whole number from {} to {}", range.start(), range.end()))
        })
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// It is neither.
    pub fn flag(&self, name: &str) -> Result<bool, HandlerError> {
        self.choice(name, &[("false", false), ("true", true)])
    }

    /// One of a few names.
    ///
    /// # Errors
    /// It is none of them.
    pub fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<T, HandlerError> {
        let value = self.text(name);
        choices.iter().find(|(choice, _)| *choice == value).map(|(_, meaning)| *meaning).ok_or_else(|| {
            let names: Vec<&str> = choices.iter().map(|(choice, _)| *choice).collect();
            self.wrong(name, format_args!("one of {}{}", names.join(", "), nearest(value, &names)))
        })
    }

    /// A duration, as "5ms" or "1s 500ms".
    ///
    /// # Errors
    /// It is none, or above `max`.
    pub fn duration(&self, name: &str, max: Duration) -> Result<Duration, HandlerError> {
        let parsed = humantime_serde::re::humantime::parse_duration(self.text(name));
        parsed.ok().filter(|value| *value <= max).ok_or_else(|| {
            self.wrong(name, format_args!("a duration with its unit, as \"5ms\", of at most {max:?}"))
        })
    }

    fn wrong(&self, name: &str, right: impl Display) -> HandlerError {
        let value = self.text(name);
        HandlerError::invalid_argument(format!("parameter `{name}` is {value:?}; it has to be {right}"))
    }
}

/// The known name that was probably meant, as the end of a clause; empty when none is near.
pub(super) fn nearest(name: &str, known: &[&str]) -> String {
    // Names are a few letters long; what is far longer was not a slip, and comparing costs by the product of lengths.
    const LONGEST: usize = 32;
    // Two slips of the finger, or one pair of letters swapped and one slip.
    const FARTHEST: usize = 2;
    if name.len() > LONGEST {
        return String::new();
    }
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= FARTHEST)
        .min()
        .map_or_else(String::new, |(_, candidate)| format!(", did you mean `{candidate}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{grpc::performance::FailureKind, operations::testing::parameters};

    static DECLARED: [ParameterInfo; 4] = [
        ParameterInfo { name: "busy", description: "how long", default: "0s" },
        ParameterInfo { name: "format", description: "which", default: "png" },
        ParameterInfo { name: "level", description: "how much", default: "3" },
        ParameterInfo { name: "stubborn", description: "whether", default: "false" },
    ];

    fn message<T: std::fmt::Debug>(result: Result<T, HandlerError>) -> String {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), FailureKind::InvalidArgument);
        error.message().to_owned()
    }

    #[test]
    fn what_is_not_given_has_its_default() {
        let none = HashMap::new();
        let none = Parameters::new(&DECLARED, &none);
        none.check_names().unwrap();
        assert_eq!(none.text("format"), "png");
        assert_eq!(none.integer("level", 1..=22).unwrap(), 3);
        assert_eq!(none.duration("busy", Duration::from_secs(60)).unwrap(), Duration::ZERO);
        assert!(!none.flag("stubborn").unwrap());
    }

    #[test]
    fn what_is_given_is_parsed() {
        let given =
            parameters(&[("busy", "1s 5ms"), ("format", "webp"), ("level", "22"), ("stubborn", "true")]);
        let given = Parameters::new(&DECLARED, &given);
        assert_eq!(given.choice("format", &[("png", 1), ("webp", 2)]).unwrap(), 2);
        assert_eq!(given.integer("level", 1..=22).unwrap(), 22);
        assert_eq!(given.duration("busy", Duration::from_secs(60)).unwrap(), Duration::from_millis(1005));
        assert!(given.flag("stubborn").unwrap());
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_and_the_nearest() {
        let given = parameters(&[("levle", "3")]);
        assert_eq!(
            message(Parameters::new(&DECLARED, &given).check_names()),
            "there is no parameter `levle`, did you mean `level`?; this operation takes busy, format, level, stubborn"
        );
        assert_eq!(
            message(Parameters::new(&[], &given).check_names()),
            "there is no parameter `levle`; this operation takes none"
        );
    }

    #[test]
    fn a_wrong_value_is_refused_with_itself_and_the_range() {
        let given = parameters(&[("busy", "61s"), ("format", "pgn"), ("level", "23"), ("stubborn", "yes")]);
        let given = Parameters::new(&DECLARED, &given);
        assert_eq!(
            message(given.integer("level", 1..=22)),
            "parameter `level` is \"23\"; it has to be a whole number from 1 to 22"
        );
        assert_eq!(
            message(given.choice("format", &[("png", 1), ("webp", 2)])),
            "parameter `format` is \"pgn\"; it has to be one of png, webp, did you mean `png`?"
        );
        assert_eq!(
            message(given.flag("stubborn")),
            "parameter `stubborn` is \"yes\"; it has to be one of false, true"
        );
        assert_eq!(
            message(given.duration("busy", Duration::from_secs(60))),
            "parameter `busy` is \"61s\"; it has to be a duration with its unit, as \"5ms\", of at most 60s"
        );
        for (name, value) in [("level", "-1"), ("level", "three"), ("level", ""), ("busy", "5"), ("busy", "")]
        {
            let given = parameters(&[(name, value)]);
            let given = Parameters::new(&DECLARED, &given);
            let text = match name {
                "level" => message(given.integer(name, 1..=22)),
                _ => message(given.duration(name, Duration::from_secs(60))),
            };
            assert!(text.contains(&format!("{value:?}")), "{text}");
        }
    }

    #[test]
    fn a_long_unknown_name_costs_no_comparison() {
        assert_eq!(nearest(&"level".repeat(1 << 20), &["level"]), "");
    }
}
