//! Traefik: one gateway for Ingresses with the annotations of ingress-nginx, for the Gateway API, and for
//! Traefik's own kinds.

use anyhow::{Result, bail};
use serde_json::json;

use super::addons::{apply, apply_crds, publish};
use super::{SOON, kubeconfig};
use crate::Lab;
use crate::probe;
use crate::process::Program;

/// Where it serves. Its Gateway's listener must have this port, too: Traefik looks for an entry point with it.
pub(crate) const TRAEFIK_PORT: u16 = 8000;
/// Its metrics, its health, and what it believes (`/api/http/services`).
pub(super) const TRAEFIK_ADMIN_PORT: u16 = 8100;

/// What Traefik expects to find: custom resources, a class of Ingresses and a Gateway of its own. The
/// Gateway takes routes from every namespace.
pub(crate) fn prepare_traefik(lab: &Lab) -> Result<()> {
    apply_crds(lab, "traefik")?;
    publish(lab, "traefik", "traefik", 80, TRAEFIK_PORT)?;
    let gateway_api = "gateway.networking.k8s.io/v1";
    apply(
        lab,
        &[
            json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": { "name": "nginx" },
                "spec": { "controller": "k8s.io/ingress-nginx" },
            }),
            json!({
                "apiVersion": gateway_api, "kind": "GatewayClass", "metadata": { "name": "traefik" },
                "spec": { "controllerName": "traefik.io/gateway-controller" },
            }),
            json!({
                "apiVersion": gateway_api, "kind": "Gateway",
                "metadata": { "name": "traefik", "namespace": "traefik" },
                "spec": {
                    "gatewayClassName": "traefik",
                    "listeners": [{
                        "name": "web", "protocol": "HTTP", "port": TRAEFIK_PORT,
                        "allowedRoutes": { "namespaces": { "from": "All" } },
                    }],
                },
            }),
        ],
    )
}

pub(super) fn program(lab: &Lab) -> Result<Program> {
    Ok(Program::new(&lab.tool("traefik")?)
        .args([
            "--global.checknewversion=false",
            "--global.sendanonymoususage=false",
            "--log.level=WARN",
            "--log.nocolor=true",
            "--ping=true",
            "--api.insecure=true",
            "--api.dashboard=false",
            "--metrics.prometheus=true",
            "--providers.kubernetesgateway=true",
            "--providers.kubernetescrd=true",
            "--providers.kubernetesingressnginx=true",
            "--providers.kubernetesingressnginx.httpentrypoint=web",
        ])
        .arg(format!("--entrypoints.web.address=:{TRAEFIK_PORT}"))
        .arg(format!("--entrypoints.traefik.address=127.0.0.1:{TRAEFIK_ADMIN_PORT}"))
        .env("KUBECONFIG", kubeconfig(lab, "lab:traefik").display().to_string()))
}

/// It answers, and has seen its Gateway.
pub(super) fn ready(lab: &Lab) -> Result<()> {
    probe::http_ok(&format!("127.0.0.1:{TRAEFIK_ADMIN_PORT}"), "/ping")?;
    let programmed = "jsonpath={.status.conditions[?(@.type==\"Programmed\")].status}";
    match lab
        .kubectl(&[
            SOON,
            "get",
            "gateway.gateway.networking.k8s.io/traefik",
            "-n",
            "traefik",
            "-o",
            programmed,
        ])?
        .as_str()
    {
        "True" => Ok(()),
        other => bail!("the Gateway is not programmed: {other:?}"),
    }
}
