//! How cores are related: which are threads of one physical core, and which are near the same memory.
//!
//! Two hardware threads of a core share its units: the second adds a third or so to what the first does. Cores of
//! different memory nodes pass a cache line between them several times as slowly as those of one. So who needs fewer
//! threads than there are cores does best with physical cores, of as few nodes as will do: that is the order here.
//!
//! Linux tells, in files below `/sys/devices/system`. What is not told there counts as unrelated.

use std::{collections::HashMap, fs, path::Path, sync::OnceLock};

use super::affinity::Core;

const SYSTEM: &str = "/sys/devices/system";

/// Where a core is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    node: usize,
    /// The least number among the hardware threads of its physical core.
    physical: usize,
}

/// Puts cores into the order in which to use them: one thread of each physical core, node by node, then the second
/// threads, and so on. Whoever is alike stays as it was.
pub(crate) fn order_for_use(cores: &mut [Core]) {
    static PLACES: OnceLock<HashMap<usize, Place>> = OnceLock::new();
    let places = PLACES.get_or_init(|| places(Path::new(SYSTEM)));
    order_by(places, cores, |core| core.number());
}

fn order_by<T: Clone>(places: &HashMap<usize, Place>, cores: &mut [T], number: impl Fn(&T) -> usize) {
    let mut before: HashMap<usize, usize> = HashMap::new();
    let mut ranked: Vec<_> = cores
        .iter()
        .map(|core| {
            let number = number(core);
            let Place { node, physical } =
                places.get(&number).copied().unwrap_or(Place { node: 0, physical: number });
            let threads = before.entry(physical).or_default();
            *threads += 1;
            ((*threads, node), core.clone())
        })
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    cores.iter_mut().zip(ranked).for_each(|(core, (_, ranked))| *core = ranked);
}

/// All cores that the system tells of.
fn places(system: &Path) -> HashMap<usize, Place> {
    let mut places = HashMap::new();
    for core in numbered(&system.join("cpu"), "cpu") {
        let siblings = system.join(format!("cpu/cpu{core}/topology/thread_siblings_list"));
        let physical = list(&siblings).into_iter().min().unwrap_or(core);
        places.insert(core, Place { node: 0, physical });
    }
    for node in numbered(&system.join("node"), "node") {
        for core in list(&system.join(format!("node/node{node}/cpulist"))) {
            if let Some(place) = places.get_mut(&core) {
                place.node = node;
            }
        }
    }
    places
}

/// The numbers behind a name, of what is in a directory.
fn numbered(directory: &Path, name: &str) -> Vec<usize> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.strip_prefix(name)?.parse().ok()).collect()
}

/// The numbers in a file such as "0-3,8"; none where there is no such file.
fn list(file: &Path) -> Vec<usize> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let ranges = text.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    ranges.flatten().collect()
}

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests {
    use super::*;

    /// A system of so many nodes, each of so many physical cores of two threads: numbered as Linux does, first threads
    /// first.
    fn system(nodes: usize, each: usize) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let physical = nodes * each;
        let write = |path: String, text: String| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for core in 0..2 * physical {
            let first = core % physical;
            write(
                format!("cpu/cpu{core}/topology/thread_siblings_list"),
                format!("{first},{}\n", first + physical),
            );
        }
        for node in 0..nodes {
            let first = node * each;
            let ranges = [first, first + physical].map(|from| format!("{from}-{}", from + each - 1));
            write(format!("node/node{node}/cpulist"), format!("{}\n", ranges.join(",")));
        }
        write("cpu/cpufreq/policy0".to_owned(), String::new());
        directory
    }

    fn ordered(system: &Path, mut cores: Vec<usize>) -> Vec<usize> {
        order_by(&places(system), &mut cores, |core| *core);
        cores
    }

    #[test]
    fn first_come_physical_cores_node_by_node_then_their_second_threads() {
        let system = system(2, 2);
        let shuffled = vec![7, 1, 0, 4, 2, 3, 5, 6];
        // What comes first of a physical core is its first thread here, whatever its number.
        assert_eq!(ordered(system.path(), shuffled), [1, 0, 7, 2, 4, 5, 3, 6]);
        assert_eq!(ordered(system.path(), (0..8).collect()), [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn threads_side_by_side_are_taken_apart_and_only_allowed_ones_count() {
        let system = system(1, 4);
        assert_eq!(ordered(system.path(), vec![0, 4, 1, 5]), [0, 1, 4, 5]);
        assert_eq!(ordered(system.path(), vec![4, 5, 1]), [4, 5, 1], "of two, the one that is allowed");
    }

    #[test]
    fn where_nothing_is_told_the_order_stays() {
        let nothing = tempfile::tempdir().unwrap();
        assert_eq!(ordered(nothing.path(), vec![3, 1, 2]), [3, 1, 2]);
    }

    #[test]
    fn this_system_keeps_all_its_cores() {
        let before = super::super::affinity::allowed_cores();
        let mut after = before.clone();
        order_for_use(&mut after);
        assert_eq!(after.len(), before.len());
        assert!(before.iter().all(|core| after.contains(core)));
    }
}
