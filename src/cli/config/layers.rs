//! What a file, the environment and flags say.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use toml::{
    Spanned, Value,
    de::{DeTable, DeValue},
};

use super::{BadConfiguration, values::Values};

/// What the variables of the configuration begin with.
const PREFIX: &str = "MILLSTREAM_";
/// The variable that says what is logged. It is not part of the configuration.
pub(crate) const LOG_VARIABLE: &str = "MILLSTREAM_LOG";

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody said anything.
    Default,
    /// The preset of this name.
    Preset(String),
    /// A line of a file.
    File { path: String, line: usize },
    /// A variable of the environment.
    Environment(String),
    /// A flag.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Preset(name) => write!(f, "preset {name}"),
            // The origin stands in comments, which end at the end of the line.
            Self::File { path, line } => write!(f, "{}:{line}", path.escape_debug()),
            Self::Environment(variable) => f.write_str(variable),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// A value as it was given.
#[derive(Debug, Clone)]
pub(super) enum Given {
    /// Of a type, from a file.
    Value(Value),
    /// Text, from the environment or a flag: its type is that of the key.
    Text(String),
}

impl Given {
    pub(super) fn to_value(&self) -> Value {
        match self {
            Self::Value(value) => value.clone(),
            Self::Text(text) => Value::String(text.clone()),
        }
    }

    pub(super) fn to_text(&self) -> String {
        match self {
            Self::Value(Value::String(text)) | Self::Text(text) => text.clone(),
            Self::Value(value) => value.to_string(),
        }
    }
}

/// A key that a layer gives a value to.
#[derive(Debug)]
pub(super) struct Assignment {
    pub(super) key: String,
    pub(super) given: Given,
    pub(super) origin: Origin,
}

impl Assignment {
    pub(super) fn flag(
        key: &str,
        text: &str,
        flag: &'static str,
        values: &Values,
    ) -> Result<Self, BadConfiguration> {
        known(key, &Origin::Flag(flag), values)?;
        Ok(Self { key: key.to_owned(), given: Given::Text(text.to_owned()), origin: Origin::Flag(flag) })
    }
}

/// What a TOML file says, in the order of its keys.
pub(super) fn file(path: &Path, values: &Values) -> Result<Vec<Assignment>, BadConfiguration> {
    let name = path.display();
    let text =
        fs::read_to_string(path).map_err(|error| BadConfiguration(format!("cannot read {name}: {error}")))?;
    let line = |at: usize| text[..at].matches('\n').count() + 1;
    let wrong = |error: toml::de::Error| {
        let line = line(error.span().map_or(0, |span| span.start));
        BadConfiguration(format!("{name}:{line}: {}", error.message().trim_end()))
    };
    // Twice: once for the places, once for the values.
    let places = DeTable::parse(&text).map_err(wrong)?;
    let mut found = BTreeMap::new();
    locate("", places.get_ref(), values, &mut found);
    let mut table: toml::Table = text.parse().map_err(wrong)?;
    let mut assignments = Vec::with_capacity(found.len());
    for (key, at) in found {
        let origin = Origin::File { path: name.to_string(), line: line(at) };
        known(&key, &origin, values)?;
        let value = match key.split_once('.') {
            None => table.remove(&key),
            Some((section, field)) => {
                table.get_mut(section).and_then(Value::as_table_mut).and_then(|section| section.remove(field))
            }
        };
        let value = value.expect("both readings of the file have the same keys");
        assignments.push(Assignment { key, given: Given::Value(value), origin });
    }
    Ok(assignments)
}

/// The keys of a table with their places in the text, `server.listen` for what stands in a table. A section may be empty.
fn locate(prefix: &str, table: &DeTable<'_>, values: &Values, found: &mut BTreeMap<String, usize>) {
    for (name, value) in table.iter() {
        let at = Spanned::span(name).start;
        let name: &str = name.get_ref();
        // A dot inside of quotes leads into no table.
        let key = if name.contains('.') { format!("{prefix}\"{name}\"") } else { format!("{prefix}{name}") };
        match value.get_ref() {
            DeValue::Table(section) if !section.is_empty() => {
                locate(&format!("{key}."), section, values, found);
            }
            DeValue::Table(_) if values.has_section(&key) => {}
            _ => {
                found.insert(key, at);
            }
        }
    }
}

/// What the environment says.
pub(super) fn environment(
    variables: &[(String, String)],
    values: &Values,
) -> Result<Vec<Assignment>, BadConfiguration> {
    let known: BTreeMap<String, &str> = values.keys().map(|key| (variable(key), key)).collect();
    let ours = variables.iter().filter(|(name, _)| name.starts_with(PREFIX) && name != LOG_VARIABLE);
    let assign = |(name, text): &(String, String)| {
        let key = known.get(name).ok_or_else(|| {
            let names = known.keys().map(String::as_str).chain([LOG_VARIABLE]);
            BadConfiguration(format!("{name} is no variable of millstream: is it {}?", nearest(name, names)))
        })?;
        Ok(Assignment {
            key: (*key).to_owned(),
            given: Given::Text(text.clone()),
            origin: Origin::Environment(name.clone()),
        })
    };
    ours.map(assign).collect()
}

/// `server.listen` is `MILLSTREAM_SERVER_LISTEN`.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_ascii_uppercase())
}

fn known(key: &str, origin: &Origin, values: &Values) -> Result<(), BadConfiguration> {
    if values.keys().any(|known| known == key) {
        return Ok(());
    }
    let nearest = nearest(key, values.keys());
    Err(BadConfiguration(format!("unknown key `{key}` ({origin}): is it `{nearest}`?")))
}

/// The name that looks most like this one, with its section or without.
fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> &'a str {
    let likeness = |known: &str| {
        let whole = strsim::normalized_damerau_levenshtein(name, known);
        let field = known.rsplit('.').next().unwrap_or(known);
        whole.max(strsim::normalized_damerau_levenshtein(name, field))
    };
    names.max_by(|a, b| likeness(a).total_cmp(&likeness(b))).expect("there are keys")
}
