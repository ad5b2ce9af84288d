//! Every key with its value, and where it comes from.

use std::{collections::BTreeMap, net::SocketAddr};

use humantime_serde::re::humantime;
use toml::{Table, Value};

use super::{
    BadConfiguration, Sections,
    layers::{Assignment, Given, Origin},
    preset,
};
use crate::cli::units;

/// A value and where it comes from.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// All that is configured: no key is missing, none is unknown.
#[derive(Debug, Clone)]
pub(super) struct Values {
    pub(super) preset: Setting,
    pub(super) settings: BTreeMap<String, Setting>,
}

/// The sections as keys and values, `server.listen` for what stands in a table.
pub(super) fn flatten(sections: &Sections) -> BTreeMap<String, Value> {
    let table = Table::try_from(sections).expect("the sections are tables with string keys");
    let mut flat = BTreeMap::new();
    for (key, value) in table {
        match value {
            Value::Table(section) => {
                flat.extend(section.into_iter().map(|(name, value)| (format!("{key}.{name}"), value)))
            }
            value => {
                flat.insert(key, value);
            }
        }
    }
    flat
}

/// The way back from [`flatten`].
fn unflatten<'a>(values: impl Iterator<Item = (&'a String, &'a Value)>) -> Result<Sections, toml::de::Error> {
    let mut table = Table::new();
    for (key, value) in values {
        let (section, name) = match key.split_once('.') {
            None => (&mut table, key.as_str()),
            Some((section, name)) => {
                let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
                (section.as_table_mut().expect("no key is the name of a section"), name)
            }
        };
        section.insert(name.to_owned(), value.clone());
    }
    table.try_into()
}

impl Values {
    /// The defaults, and what a preset makes of them.
    pub(super) fn of_preset(name: &str, chosen: &Origin) -> Result<Self, BadConfiguration> {
        let sections = preset::sections(name).ok_or_else(|| {
            let names = preset::names().collect::<Vec<_>>().join(", ");
            BadConfiguration(format!("preset = \"{name}\" ({chosen}): there are {names}"))
        })?;
        let defaults = flatten(&Sections::default());
        let settings = flatten(&sections).into_iter().map(|(key, value)| {
            let origin =
                if value == defaults[&key] { Origin::Default } else { Origin::Preset(name.to_owned()) };
            (key, Setting { value, origin })
        });
        let preset = Setting { value: name.into(), origin: chosen.clone() };
        Ok(Self { preset, settings: settings.collect() })
    }

    /// The known keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.settings.keys().map(String::as_str).chain([preset::KEY])
    }

    /// Whether known keys stand in a table of this name.
    pub(super) fn has_section(&self, name: &str) -> bool {
        self.keys().filter_map(|key| key.split_once('.')).any(|(section, _)| section == name)
    }

    pub(super) fn origin(&self, key: &str) -> &Origin {
        &self.settings[key].origin
    }

    pub(super) fn sections(&self) -> Result<Sections, toml::de::Error> {
        unflatten(self.settings.iter().map(|(key, setting)| (key, &setting.value)))
    }

    /// Puts a value in place, if it is one that its key can take.
    pub(super) fn assign(&mut self, assignment: Assignment) -> Result<(), BadConfiguration> {
        let Assignment { key, given, origin } = assignment;
        let before = &self.settings[&key].value;
        let wrong = |expected: &str| {
            BadConfiguration(format!("{key} = {} ({origin}): expected {expected}", given.to_value()))
        };
        let value = read(before, &given).map_err(wrong)?;
        let tried = self.settings.iter().map(|(other, setting)| {
            let value = if *other == key { &value } else { &setting.value };
            (other, value)
        });
        if let Err(error) = unflatten(tried) {
            let before = before.as_str().unwrap_or_default();
            return Err(if humantime::parse_duration(before).is_ok() {
                wrong(units::A_DURATION)
            } else if before.parse::<SocketAddr>().is_ok() {
                wrong(units::AN_ADDRESS)
            } else {
                BadConfiguration(format!(
                    "{key} = {} ({origin}): {}",
                    given.to_value(),
                    error.message().trim_end()
                ))
            });
        }
        self.settings.insert(key, Setting { value, origin });
        Ok(())
    }
}

/// What was given, as the type that the key has.
fn read(before: &Value, given: &Given) -> Result<Value, &'static str> {
    match (before, given) {
        (Value::Integer(_), Given::Text(text) | Given::Value(Value::String(text))) => units::size(text)
            .ok()
            .and_then(|size| i64::try_from(size).ok())
            .map(Value::Integer)
            .ok_or(units::A_SIZE),
        (Value::Integer(_), Given::Value(Value::Integer(number @ 0..))) => Ok(Value::Integer(*number)),
        (Value::Integer(_), _) => Err(units::A_SIZE),
        (Value::Float(_), Given::Text(text)) => text.trim().parse().map(Value::Float).map_err(|_| A_NUMBER),
        (Value::Float(_), Given::Value(Value::Float(number))) => Ok(Value::Float(*number)),
        (Value::Float(_), Given::Value(Value::Integer(number))) => Ok(Value::Float(*number as f64)),
        (Value::Float(_), _) => Err(A_NUMBER),
        (Value::Boolean(_), Given::Text(text)) => {
            text.trim().parse().map(Value::Boolean).map_err(|_| A_BOOLEAN)
        }
        (Value::Boolean(_), Given::Value(Value::Boolean(truth))) => Ok(Value::Boolean(*truth)),
        (Value::Boolean(_), _) => Err(A_BOOLEAN),
        (_, Given::Text(text)) => Ok(Value::String(text.clone())),
        (_, Given::Value(value)) => Ok(value.clone()),
    }
}

const A_NUMBER: &str = "a number such as 0.8";
const A_BOOLEAN: &str = "true or false";
