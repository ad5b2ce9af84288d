//! Compiles `proto/` into Rust, without protoc: protox parses, prost generates.

#[cfg(feature = "server")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
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
fn main() {}
