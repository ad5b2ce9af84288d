//! The presets by name.

use std::fmt::Write;

use super::{Sections, values};
use crate::{OptimizationConfig, PerformanceLevel};

/// The key that chooses a preset.
pub(super) const KEY: &str = "preset";
/// The one that holds when none is chosen: the defaults.
pub(super) const DEFAULT: &str = "balanced";

struct Preset {
    name: &'static str,
    purpose: &'static str,
    config: fn() -> OptimizationConfig,
}

const PRESETS: [Preset; 5] = [
    Preset { name: DEFAULT, purpose: "the defaults", config: || PerformanceLevel::Balanced.to_config() },
    Preset {
        name: "memory_efficient",
        purpose: "a small footprint",
        config: || PerformanceLevel::MemoryEfficient.to_config(),
    },
    Preset {
        name: "high_performance",
        purpose: "throughput first",
        config: || PerformanceLevel::HighPerformance.to_config(),
    },
    Preset {
        name: "development",
        purpose: "everything is traced, and what hangs is noticed soon",
        config: OptimizationConfig::development,
    },
    Preset {
        name: "custom",
        purpose: "the defaults, as the base of settings of one's own",
        config: || PerformanceLevel::Custom.to_config(),
    },
];

/// The settings of a preset.
pub(super) fn sections(name: &str) -> Option<Sections> {
    let preset = PRESETS.iter().find(|preset| preset.name == name)?;
    Some(Sections { plane: (preset.config)(), ..Sections::default() })
}

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|preset| preset.name)
}

/// Each preset, with what it changes.
pub(crate) fn describe() -> String {
    let defaults = values::flatten(&Sections::default());
    let mut text = String::new();
    for Preset { name, purpose, config } in PRESETS {
        let changed = values::flatten(&Sections { plane: config(), ..Sections::default() });
        writeln!(text, "{name}: {purpose}").expect("a string takes what is written to it");
        for (key, value) in changed.iter().filter(|(key, value)| defaults.get(*key) != Some(*value)) {
            writeln!(text, "    {key} = {value}  # default: {}", defaults[key])
                .expect("a string takes what is written to it");
        }
    }
    text
}
