//! What the API server writes into a pod template when the user left it out.
//!
//! The facts are those of Kubernetes' defaulting of a PodTemplate. Defaults that are set on pods only (requests from
//! limits, `enableServiceLinks`) do not belong here.

use super::go_type::GoStruct;
use serde_json::{Map, Value};

type Members = Map<String, Value>;

/// A default value.
#[derive(Clone, Copy)]
enum DefaultValue {
    Text(&'static str),
    Number(i64),
    False,
    EmptyObject,
}

use DefaultValue::{EmptyObject, False, Number, Text};

/// Permissions 0644 of files from Secrets, ConfigMaps and the like.
const FILE_MODE: DefaultValue = Number(0o644);

/// Struct, field, default: set when the field is absent, which zero values are where Go cannot tell them apart.
const DEFAULTS: &[(&str, &str, DefaultValue)] = &[
    ("core.PodSpec", "dnsPolicy", Text("ClusterFirst")),
    ("core.PodSpec", "restartPolicy", Text("Always")),
    ("core.PodSpec", "schedulerName", Text("default-scheduler")),
    ("core.PodSpec", "securityContext", EmptyObject),
    ("core.PodSpec", "terminationGracePeriodSeconds", Number(30)),
    ("core.Container", "terminationMessagePath", Text("/dev/termination-log")),
    ("core.Container", "terminationMessagePolicy", Text("File")),
    ("core.EphemeralContainer", "terminationMessagePath", Text("/dev/termination-log")),
    ("core.EphemeralContainer", "terminationMessagePolicy", Text("File")),
    ("core.ContainerPort", "protocol", Text("TCP")),
    ("core.Probe", "failureThreshold", Number(3)),
    ("core.Probe", "periodSeconds", Number(10)),
    ("core.Probe", "successThreshold", Number(1)),
    ("core.Probe", "timeoutSeconds", Number(1)),
    ("core.HTTPGetAction", "path", Text("/")),
    ("core.HTTPGetAction", "scheme", Text("HTTP")),
    ("core.GRPCAction", "service", Text("")),
    ("core.ObjectFieldSelector", "apiVersion", Text("v1")),
    ("core.FileKeySelector", "optional", False),
    ("core.SecretVolumeSource", "defaultMode", FILE_MODE),
    ("core.ConfigMapVolumeSource", "defaultMode", FILE_MODE),
    ("core.DownwardAPIVolumeSource", "defaultMode", FILE_MODE),
    ("core.ProjectedVolumeSource", "defaultMode", FILE_MODE),
    ("core.ServiceAccountTokenProjection", "expirationSeconds", Number(3600)),
    ("core.HostPathVolumeSource", "type", Text("")),
    ("core.PersistentVolumeClaimSpec", "volumeMode", Text("Filesystem")),
    ("core.ISCSIVolumeSource", "iscsiInterface", Text("default")),
    ("core.RBDVolumeSource", "pool", Text("rbd")),
    ("core.RBDVolumeSource", "user", Text("admin")),
    ("core.RBDVolumeSource", "keyring", Text("/etc/ceph/keyring")),
    ("core.ScaleIOVolumeSource", "storageMode", Text("ThinProvisioned")),
    ("core.ScaleIOVolumeSource", "fsType", Text("xfs")),
    ("core.AzureDiskVolumeSource", "cachingMode", Text("ReadWrite")),
    ("core.AzureDiskVolumeSource", "fsType", Text("ext4")),
    ("core.AzureDiskVolumeSource", "kind", Text("Shared")),
    ("core.AzureDiskVolumeSource", "readOnly", False),
];

/// Sets the defaults of one struct's own members.
pub(super) fn set_defaults(of: &GoStruct, members: &mut Members) {
    for (_, field, default) in DEFAULTS.iter().filter(|(name, ..)| *name == of.name) {
        set(members, field, *default);
    }
    match of.name {
        "core.Container" | "core.EphemeralContainer" => set_pull_policy(members, "imagePullPolicy", "image"),
        "core.ImageVolumeSource" => set_pull_policy(members, "pullPolicy", "reference"),
        "core.Volume" if members.keys().all(|field| field == "name") => set(members, "emptyDir", EmptyObject),
        "core.PodSpec" => {
            settle_service_account(members);
            if members.get("hostNetwork") == Some(&Value::Bool(true)) {
                set_host_ports(members);
            }
        }
        _ => {}
    }
}

fn set(members: &mut Members, field: &str, default: DefaultValue) {
    let value = || match default {
        Text(text) => Value::String(text.to_owned()),
        Number(number) => Value::Number(number.into()),
        False => Value::Bool(false),
        EmptyObject => Value::Object(Map::new()),
    };
    members.entry(field).or_insert_with(value);
}

fn set_pull_policy(members: &mut Members, policy: &str, image: &str) {
    let tag = members.get(image).and_then(Value::as_str).and_then(image_tag);
    set(members, policy, Text(if tag == Some("latest") { "Always" } else { "IfNotPresent" }));
}

/// The tag of an image: `latest` when it has neither tag nor digest, none when it has a digest alone or is no image.
fn image_tag(image: &str) -> Option<&str> {
    let (named, digest) =
        image.split_once('@').map_or((image, None), |(named, digest)| (named, Some(digest)));
    let (path, last) = named.rsplit_once('/').map_or(("", named), |(path, last)| (path, last));
    let (name, tag) = last.split_once(':').map_or((last, None), |(name, tag)| (name, Some(tag)));
    // Only a registry's host, before the first slash, may hold capitals and a port.
    let repository = path.split_once('/').map_or("", |(_, repository)| repository);
    let fits = |text: &str| text.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-' | '/'));
    if name.is_empty() || !fits(name) || !fits(repository) {
        return None;
    }
    tag.or_else(|| digest.is_none().then_some("latest"))
}

/// The API server keeps `serviceAccount` as a copy of `serviceAccountName`, whichever of the two was written.
fn settle_service_account(members: &mut Members) {
    if let Some(deprecated) = members.remove("serviceAccount") {
        members.entry("serviceAccountName").or_insert(deprecated);
    }
}

/// On the host's network a container port is a host port. API servers before 1.28 wrote that into templates too.
fn set_host_ports(pod_spec: &mut Members) {
    let containers = ["containers", "initContainers"];
    for (_, list) in pod_spec.iter_mut().filter(|(field, _)| containers.contains(&field.as_str())) {
        let containers = list.as_array_mut().into_iter().flatten();
        let ports = containers.filter_map(|container| container.get_mut("ports")?.as_array_mut()).flatten();
        for port in ports.filter_map(Value::as_object_mut) {
            if let Some(container_port) = port.get("containerPort").cloned() {
                port.entry("hostPort").or_insert(container_port);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::image_tag;

    #[test]
    fn an_image_without_tag_and_digest_is_the_latest() {
        for (image, tag) in [
            ("nginx", Some("latest")),
            ("nginx:latest", Some("latest")),
            ("nginx:1.19-alpine", Some("1.19-alpine")),
            ("registry.example:5000/team/app", Some("latest")),
            ("registry.example:5000/team/app:2", Some("2")),
            ("Registry.example/team/app", Some("latest")),
            ("app@sha256:0a1b", None),
            ("app:2@sha256:0a1b", Some("2")),
            ("", None),
            ("registry.example/Team/app", None),
        ] {
            assert_eq!(image_tag(image), tag, "{image}");
        }
    }
}
