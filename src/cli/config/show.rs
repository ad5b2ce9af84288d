//! The configuration as TOML, with the origin of each value in a comment.

use std::fmt::Write;

use super::{
    preset,
    values::{Setting, Values},
};

/// Keys without a table first, as TOML wants it.
pub(super) fn toml(values: &Values) -> String {
    let mut text = String::new();
    line(&mut text, preset::KEY, &values.preset);
    let mut section = None;
    for (key, setting) in values.settings.iter().filter(|(key, _)| !key.contains('.')) {
        line(&mut text, key, setting);
    }
    for (key, setting) in &values.settings {
        let Some((table, name)) = key.split_once('.') else { continue };
        if section != Some(table) {
            write!(text, "\n[{table}]\n").expect("a string takes what is written to it");
            section = Some(table);
        }
        line(&mut text, name, setting);
    }
    text
}

fn line(text: &mut String, key: &str, setting: &Setting) {
    writeln!(text, "{key} = {}  # {}", setting.value, setting.origin)
        .expect("a string takes what is written to it");
}
