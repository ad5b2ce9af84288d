//! The tool `millstream`.

fn main() {}
