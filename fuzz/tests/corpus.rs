//! Every input that is kept in the corpus, and what libFuzzer found to fail, runs on stable.

use std::{fs, panic, path::Path};

use millstream_fuzz::{TARGETS, Target};

/// Runs what lies in `under`, and says how much that was.
fn replay((name, target): Target, under: &str) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(under).join(name);
    let Ok(files) = fs::read_dir(&folder) else { return 0 };
    let files = files.map(|file| file.expect("the folder can be read").path());
    let replayed = files.map(|file| {
        let data = fs::read(&file).expect("an input can be read");
        let outcome = panic::catch_unwind(|| target(&data));
        assert!(outcome.is_ok(), "{} fails, see above", file.display());
    });
    replayed.count()
}

#[test]
fn every_input_of_the_corpus_holds() {
    for target in TARGETS {
        let count = replay(target, "corpus");
        assert!(count >= 10, "the corpus of {} is missing: {count} inputs", target.0);
    }
}

#[test]
fn what_once_failed_holds_now() {
    for target in TARGETS {
        replay(target, "artifacts");
    }
}

#[test]
fn bytes_that_say_nothing_do_nothing() {
    for (_, target) in TARGETS {
        (0..64).for_each(|length| target(&vec![0xff; length]));
        target(&[]);
    }
}
