//! Container images without a container tool: a docker-archive is a tar of a manifest, a
//! configuration and one layer.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::builds::hex;

/// How the container of an image starts.
#[derive(Debug, Clone, Default)]
pub struct ImageConfig {
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// `user` or `uid:gid`; numeric, since the image has no /etc/passwd. Empty is root.
    pub user: String,
    /// `NAME=value`
    pub env: Vec<String>,
}

/// Writes an image of `files` (path in the image, file on this machine, mode) and nothing else as a
/// docker-archive to `path`.
///
/// # Errors
/// If a file cannot be read or written, or a path in the image is too long for a tar header.
pub fn docker_archive(
    path: &Path,
    tag: &str,
    files: &[(&str, &Path, u32)],
    config: &ImageConfig,
) -> Result<()> {
    let mut layer = Vec::new();
    for (inside, source, mode) in files {
        let content = fs::read(source).with_context(|| format!("read {}", source.display()))?;
        append(&mut layer, inside.trim_start_matches('/'), *mode, &content)?;
    }
    finish(&mut layer);
    let diff_id = format!("sha256:{}", hex(&Sha256::digest(&layer)));
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": {
            "Entrypoint": config.entrypoint,
            "User": config.user,
            "Env": config.env,
            "WorkingDir": "/",
        },
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
        "history": [{ "created_by": "headgate lab" }],
    });
    let manifest = json!([{ "Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"] }]);
    let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
    let mut archive = Vec::with_capacity(layer.len() + 16 * BLOCK);
    append(&mut archive, "manifest.json", 0o644, manifest.to_string().as_bytes())?;
    append(&mut archive, "config.json", 0o644, config.to_string().as_bytes())?;
    append(&mut archive, "layer.tar", 0o644, &layer)?;
    finish(&mut archive);
    let mut file = BufWriter::new(file);
    file.write_all(&archive).and_then(|()| file.flush()).with_context(|| format!("write {}", path.display()))
}

const BLOCK: usize = 512;
const PATH_BYTES_MAX: usize = 100;

/// One regular file as a ustar entry: owned by root, dated 1970, so that equal input is an equal image.
fn append(tar: &mut Vec<u8>, path: &str, mode: u32, content: &[u8]) -> Result<()> {
    if path.is_empty() || path.len() > PATH_BYTES_MAX {
        bail!("{path:?}: a path in an image has 1 to {PATH_BYTES_MAX} bytes");
    }
    let mut header = [0_u8; BLOCK];
    put(&mut header, 0, path.as_bytes());
    put(&mut header, 100, format!("{mode:07o}").as_bytes());
    put(&mut header, 108, b"0000000");
    put(&mut header, 116, b"0000000");
    put(&mut header, 124, format!("{:011o}", content.len()).as_bytes());
    put(&mut header, 136, b"00000000000");
    // The checksum counts itself as spaces.
    put(&mut header, 148, b"        ");
    put(&mut header, 156, b"0");
    put(&mut header, 257, b"ustar\x0000");
    let checksum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    put(&mut header, 148, format!("{checksum:06o}\0 ").as_bytes());
    tar.extend(header);
    tar.extend(content);
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    Ok(())
}

fn put(header: &mut [u8; BLOCK], at: usize, value: &[u8]) {
    for (byte, new) in header.iter_mut().skip(at).zip(value) {
        *byte = *new;
    }
}

/// A tar ends with two empty blocks.
fn finish(tar: &mut Vec<u8>) {
    tar.resize(tar.len() + 2 * BLOCK, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_files_make_equal_images_with_valid_headers() {
        let mut tar = Vec::new();
        append(&mut tar, "dir/file", 0o755, b"content").unwrap();
        finish(&mut tar);
        assert_eq!(tar.len(), 4 * BLOCK, "header, content, end");
        assert_eq!(&tar[..9], b"dir/file\0");
        assert_eq!(&tar[100..108], b"0000755\0");
        assert_eq!(&tar[124..136], b"00000000007\0");
        let sum: u32 = tar[..BLOCK]
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
            .sum();
        assert_eq!(&tar[148..156], format!("{sum:06o}\0 ").as_bytes());
        append(&mut tar, &"x".repeat(101), 0o644, b"").unwrap_err();
    }
}
