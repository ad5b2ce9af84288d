//! `millstream config`.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use super::{
    Exit,
    config::{Configuration, Sources, describe_presets},
    config_flags::{ConfigFlags, ServerFlags},
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Print what is in force, as TOML that reads back, with the origin of each value.
    Show {
        #[command(flatten)]
        config: ConfigFlags,
        #[command(flatten)]
        server: ServerFlags,
    },
    /// Say whether a file works, by itself: without the environment and without flags.
    Check {
        /// The TOML file.
        file: PathBuf,
    },
    /// List the presets with what they change.
    Presets,
}

impl Command {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let text = match self {
            Self::Show { config, server } => config.load(&server)?.show(),
            Self::Check { file } => {
                let name = file.display().to_string();
                Configuration::load(&Sources { file: Some(file), ..Sources::default() })?;
                format!("{name}: ok\n")
            }
            Self::Presets => describe_presets(),
        };
        io::stdout().write_all(text.as_bytes())?;
        Ok(Exit::Done)
    }
}
