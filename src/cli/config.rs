//! The configuration in force, and where each value of it comes from.
//!
//! Layers, each above the one before: the defaults, a preset, a TOML file, the environment (`MILLSTREAM_*`), flags.
//! Which preset it is, is asked first, from the topmost layer that names one.
//!
//! The keys are not listed anywhere: [`Sections`] is turned into a table, and what is in that table is known, with
//! its default and its type. A field that is added to a section is a key of the file, the environment and `--set`
//! from then on. In a file, a table's keys stand in the table; elsewhere they are written `server.listen`, and
//! `MILLSTREAM_SERVER_LISTEN` in the environment.
//!
//! A value that cannot work is refused where it comes in: each is tried on its own, so that the error can say which
//! key, which value, and which line, variable or flag it came from. Only then is the whole checked for values that
//! do not go together.

mod layers;
mod optional;
mod preset;
mod show;
mod values;

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

use self::{
    layers::{Assignment, environment, file},
    values::Values,
};
use crate::{
    OptimizationConfig,
    grpc::{performance::config::count, server::ServerOptions},
    operations::Settings,
};

pub(crate) use layers::{LOG_VARIABLE, Origin};
pub(crate) use preset::describe as describe_presets;

/// What can be configured. A new section is a new field here; its keys follow.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Sections {
    /// The data plane, at the top level.
    #[serde(flatten)]
    pub(crate) plane: OptimizationConfig,
    /// `[server]`.
    pub(crate) server: ServerSection,
    /// `[operations]`.
    pub(crate) operations: Settings,
}

/// `[server]`: the transport, and what the server allows its clients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ServerSection {
    #[serde(flatten)]
    pub(crate) transport: ServerOptions,
    /// Where the pages for whoever runs the server are, or "off".
    #[serde(with = "optional")]
    pub(crate) admin_listen: Option<SocketAddr>,
    /// Whether clients may make handlers panic.
    pub(crate) allow_fault_injection: bool,
    /// Threads for the I/O of the server, and for what runs in place.
    pub(crate) io_threads: usize,
}

impl Default for ServerSection {
    fn default() -> Self {
        Self {
            transport: ServerOptions::default(),
            admin_listen: None,
            allow_fault_injection: false,
            io_threads: (num_cpus::get() / 2).max(1),
        }
    }
}

impl Sections {
    fn validate(&self) -> Result<(), crate::ConfigError> {
        self.plane.validate()?;
        self.server.transport.validate()?;
        count("server.io_threads", self.server.io_threads, 1..=1024)?;
        self.operations.validate()
    }
}

/// The configuration in force.
#[derive(Debug)]
pub(crate) struct Configuration {
    pub(crate) sections: Sections,
    values: Values,
}

/// A configuration that cannot work: what, from where, and what would be right.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadConfiguration(String);

/// Where the layers above the defaults are found.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// A TOML file.
    pub(crate) file: Option<PathBuf>,
    /// The variables of the process, of which those that begin with `MILLSTREAM_` count.
    pub(crate) environment: Vec<(String, String)>,
    /// Key, value, and the flag that said so.
    pub(crate) flags: Vec<(String, String, &'static str)>,
}

impl Configuration {
    /// Lays the sources over each other.
    pub(crate) fn load(sources: &Sources) -> Result<Self, BadConfiguration> {
        let mut values = Values::of_preset(preset::DEFAULT, &Origin::Default)?;
        let mut assignments = Vec::new();
        if let Some(path) = &sources.file {
            assignments.extend(file(path, &values)?);
        }
        assignments.extend(environment(&sources.environment, &values)?);
        for (key, text, flag) in &sources.flags {
            assignments.push(Assignment::flag(key, text, flag, &values)?);
        }
        if let Some(chosen) = assignments.iter().rfind(|assignment| assignment.key == preset::KEY) {
            values = Values::of_preset(&chosen.given.to_text(), &chosen.origin)?;
        }
        for assignment in assignments {
            if assignment.key != preset::KEY {
                values.assign(assignment)?;
            }
        }
        let sections = values.sections().map_err(|error| BadConfiguration(error.message().to_owned()))?;
        sections.validate().map_err(|error| {
            let origin = values.origin(error.field);
            BadConfiguration(format!("{error} ({} is from: {origin})", error.field))
        })?;
        Ok(Self { sections, values })
    }

    /// The configuration as TOML that reads back, the origin of each value beside it.
    pub(crate) fn show(&self) -> String {
        show::toml(&self.values)
    }
}

#[cfg(test)]
mod tests;
