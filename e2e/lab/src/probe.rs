//! Looks from within the lab's network, without an HTTP library.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const READ_TIMEOUT: Duration = Duration::from_secs(3);
const BODY_BYTES_MAX: u64 = 1 << 20;
/// Between two looks at the same condition.
const INTERVAL: Duration = Duration::from_millis(100);

pub(crate) fn connects(address: &str) -> Result<()> {
    connect(address).map(drop)
}

fn connect(address: &str) -> Result<TcpStream> {
    let socket = address.parse().with_context(|| format!("{address} is no address"))?;
    let stream = TcpStream::connect_timeout(&socket, CONNECT_TIMEOUT)
        .with_context(|| format!("nothing answers at {address}"))?;
    stream.set_read_timeout(Some(READ_TIMEOUT)).context("set a timeout")?;
    Ok(stream)
}

/// The body of an answer 200; a body in chunks comes with the chunks' sizes.
pub(crate) fn http(method: &str, address: &str, path: &str) -> Result<String> {
    let mut stream = connect(address)?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).with_context(|| format!("ask {address}"))?;
    let mut bytes = Vec::new();
    stream.take(BODY_BYTES_MAX).read_to_end(&mut bytes).with_context(|| format!("read from {address}"))?;
    let answer = String::from_utf8_lossy(&bytes);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer.as_ref(), ""));
    let status = head.lines().next().unwrap_or("no answer");
    if status.split(' ').nth(1) != Some("200") {
        bail!("{address}{path}: {status}");
    }
    Ok(body.to_owned())
}

pub(crate) fn http_ok(address: &str, path: &str) -> Result<()> {
    http("GET", address, path).map(drop)
}

/// Looks until `condition` holds. Its last complaint becomes the error.
pub(crate) fn wait_for(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<()>,
    mut give_up: impl FnMut() -> Result<()>,
) -> Result<()> {
    let deadline = Instant::now() + limit;
    loop {
        let Err(complaint) = condition() else { return Ok(()) };
        give_up()?;
        if Instant::now() > deadline {
            return Err(complaint.context(format!("{what} is not ready after {} s", limit.as_secs())));
        }
        std::thread::sleep(INTERVAL);
    }
}
