//! Certificates, keys and tokens of one lab, made afresh each time by openssl.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::builds::hex;
use crate::sandbox::{API_SERVICE_ADDRESS, NODE_ADDRESS};
use crate::state::State;

/// Token, user and groups of whoever talks to the API server.
pub(crate) struct User {
    pub(crate) name: &'static str,
    groups: &'static str,
}

pub(crate) const NODE_NAME: &str = "lab-node";

/// The roles of these users come with Kubernetes. Each has a name of its own, so that the audit log
/// tells them apart.
pub(crate) const USERS: [User; 9] = [
    User { name: "admin", groups: "system:masters" },
    User { name: "system:kube-controller-manager", groups: "" },
    User { name: "system:kube-scheduler", groups: "" },
    User { name: "system:node:lab-node", groups: "system:nodes" },
    User { name: "system:kube-proxy", groups: "" },
    // The add-ons run outside of pods, where the roles of their charts do not reach.
    User { name: "lab:addons", groups: "system:masters" },
    User { name: "lab:istiod", groups: "system:masters" },
    User { name: "lab:traefik", groups: "system:masters" },
    User { name: "lab:kwok", groups: "system:masters" },
];

const CONFIG: &str = "[req]
distinguished_name = name
prompt = no
[name]
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign, digitalSignature
subjectKeyIdentifier = hash
[client]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:kubernetes, DNS:kubernetes.default, DNS:kubernetes.default.svc, \
DNS:kubernetes.default.svc.cluster.local, DNS:localhost, IP:127.0.0.1, IP:NODE, IP:SERVICE
";

/// Makes `pki/` in the state directory: two authorities (for clients and for the aggregation layer),
/// what they sign, the key of service accounts, the token file and one kubeconfig per user.
pub(crate) fn create(state: &State) -> Result<()> {
    let config = CONFIG.replace("NODE", NODE_ADDRESS).replace("SERVICE", API_SERVICE_ADDRESS);
    state.write("pki/openssl.cnf", &config)?;
    authority(state, "ca")?;
    authority(state, "front-proxy-ca")?;
    signed(state, "apiserver", "ca", "server", "/CN=kube-apiserver")?;
    signed(
        state,
        "apiserver-kubelet-client",
        "ca",
        "client",
        "/O=system:masters/CN=kube-apiserver-kubelet-client",
    )?;
    signed(state, "front-proxy-client", "front-proxy-ca", "client", "/CN=front-proxy-client")?;
    let key = pki(state, "service-accounts.key").display().to_string();
    openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &key])?;
    let mut tokens = String::new();
    for user in &USERS {
        let token = random_token()?;
        tokens += &format!("{token},{name},{name},\"{groups}\"\n", name = user.name, groups = user.groups);
        crate::kubeconfig::write(state, user.name, &token)?;
    }
    state.write("pki/tokens.csv", &tokens)?;
    Ok(())
}

pub(crate) fn pki(state: &State, file: &str) -> PathBuf {
    state.path("pki").join(file)
}

fn authority(state: &State, name: &str) -> Result<()> {
    request(state, name, "ca", &format!("/CN=headgate-lab-{name}"), &[])
}

fn signed(state: &State, name: &str, authority: &str, extensions: &str, subject: &str) -> Result<()> {
    let certificate = pki(state, &format!("{authority}.crt")).display().to_string();
    let key = pki(state, &format!("{authority}.key")).display().to_string();
    request(state, name, extensions, subject, &["-CA", &certificate, "-CAkey", &key])
}

fn request(state: &State, name: &str, extensions: &str, subject: &str, more: &[&str]) -> Result<()> {
    let config = pki(state, "openssl.cnf").display().to_string();
    let key = pki(state, &format!("{name}.key")).display().to_string();
    let certificate = pki(state, &format!("{name}.crt")).display().to_string();
    let mut args =
        vec!["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    args.extend(["-days", "3650", "-config", &config, "-extensions", extensions, "-subj", subject]);
    args.extend(["-keyout", &key, "-out", &certificate]);
    args.extend(more);
    openssl(&args)
}

fn openssl(args: &[&str]) -> Result<()> {
    let output = Command::new("openssl").args(args).output().context("start openssl")?;
    if !output.status.success() {
        bail!("openssl {} failed:\n{}", args.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn random_token() -> Result<String> {
    let mut bytes = [0; 16];
    let mut random = fs::File::open("/dev/urandom").context("open /dev/urandom")?;
    random.read_exact(&mut bytes).context("read /dev/urandom")?;
    Ok(hex(&bytes))
}
