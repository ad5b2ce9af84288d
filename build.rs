//! Compiles `proto/` into Rust, without protoc: protox parses, prost generates. And says for which model the crate is built,
//! if for any: `tests/model`.

/// A cfg that only this crate is built with, so that it need not be built anew what it depends on.
fn choose_model() {
    println!("cargo::rerun-if-env-changed=MILLSTREAM_MODEL");
    if let Ok(model) = std::env::var("MILLSTREAM_MODEL") {
        println!("cargo::rustc-cfg=millstream_{model}");
    }
}

#[cfg(feature = "server")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    choose_model();
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["millstream/v1/data_plane.proto"], ["proto"])?;
    let descriptors = std::path::PathBuf::from(std::env::var("OUT_DIR")?).join("millstream.descriptors");
    std::fs::write(descriptors, protox::prost::Message::encode_to_vec(&files))?;
    tonic_prost_build::configure()
        .bytes(".millstream.v1.StreamRequest.payload")
        .bytes(".millstream.v1.StreamResponse.result")
        .extern_path(".google.rpc.Status", "::tonic_types::Status")
        .compile_fds(files)?;
    Ok(())
}

#[cfg(not(feature = "server"))]
fn main() {
    choose_model();
    println!("cargo::rerun-if-changed=build.rs");
}
