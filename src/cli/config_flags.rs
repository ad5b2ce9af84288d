//! The flags that configure: the topmost layer.

use std::{env, net::SocketAddr, path::PathBuf};

use super::{
    config::{BadConfiguration, Configuration, Sources},
    units,
};

/// Flags of every command that reads the configuration.
#[derive(Debug, clap::Args)]
pub(super) struct ConfigFlags {
    /// Read settings from this TOML file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Start from this preset; `millstream config presets` lists them.
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Set any key, such as worker_count=4 or server.max_message_size=20MiB.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_and_value)]
    settings: Vec<(String, String)>,
}

/// Flags of a command that serves.
#[derive(Debug, Default, clap::Args)]
pub(super) struct ServerFlags {
    /// Listen here; port 0 picks a free one. [server.listen]
    #[arg(long, value_name = "ADDR", value_parser = units::address)]
    listen: Option<SocketAddr>,
    /// Answer /metrics, /healthz and /readyz here, by HTTP; port 0 picks a free one. [server.admin_listen]
    #[arg(long, value_name = "ADDR", value_parser = units::address)]
    admin_listen: Option<SocketAddr>,
    /// Let clients make handlers panic, for tests. [server.allow_fault_injection]
    #[arg(long)]
    allow_fault_injection: bool,
}

/// `KEY=VALUE`.
pub(super) fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not KEY=VALUE"))?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

impl ConfigFlags {
    /// The configuration in force.
    pub(super) fn load(&self, server: &ServerFlags) -> Result<Configuration, BadConfiguration> {
        let mut flags = Vec::new();
        if let Some(preset) = &self.preset {
            flags.push(("preset".to_owned(), preset.clone(), "--preset"));
        }
        flags.extend(self.settings.iter().map(|(key, value)| (key.clone(), value.clone(), "--set")));
        if let Some(listen) = server.listen {
            flags.push(("server.listen".to_owned(), listen.to_string(), "--listen"));
        }
        if let Some(listen) = server.admin_listen {
            flags.push(("server.admin_listen".to_owned(), listen.to_string(), "--admin-listen"));
        }
        if server.allow_fault_injection {
            let key = "server.allow_fault_injection".to_owned();
            flags.push((key, true.to_string(), "--allow-fault-injection"));
        }
        // What is not UTF-8 is not ours: every known variable is ASCII, and so are the values that it can have.
        let environment = env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect();
        Configuration::load(&Sources { file: self.config.clone(), environment, flags })
    }
}
