//! Other images for containers of a pod template.

use serde_json::{Value, json};
use std::str::FromStr;

/// Where a pod template lists containers.
const LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// A container, or `*` for all, and the image that it shall run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageChange {
    container: String,
    image: String,
}

impl FromStr for ImageChange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((container, image)) if !container.is_empty() && !image.is_empty() => {
                Ok(Self { container: container.to_owned(), image: image.to_owned() })
            }
            _ => Err(format!("'{text}' is not CONTAINER=IMAGE, for example app=example.com/shop:v2")),
        }
    }
}

impl ImageChange {
    fn is_for(&self, name: &str) -> bool {
        self.container == "*" || self.container == name
    }
}

/// The operations of a JSON patch that set images in the pod template at `path`. The last change for a container wins;
/// an image that is as wanted is left alone.
///
/// # Errors
/// When a change names a container that is not there; says which there are.
pub fn set_images(template: &Value, path: &str, changes: &[ImageChange]) -> Result<Vec<Value>, String> {
    let mut operations = vec![];
    let mut names: Vec<&str> = vec![];
    for list in LISTS {
        let containers = template.pointer(&format!("/spec/{list}")).and_then(Value::as_array);
        for (index, container) in containers.into_iter().flatten().enumerate() {
            let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
            names.push(name);
            let Some(change) = changes.iter().rev().find(|change| change.is_for(name)) else { continue };
            if container.get("image").and_then(Value::as_str) != Some(&change.image) {
                let at = format!("{path}/spec/{list}/{index}");
                operations.push(json!({ "op": "test", "path": format!("{at}/name"), "value": name }));
                operations.push(json!({ "op": "add", "path": format!("{at}/image"), "value": change.image }));
            }
        }
    }
    match changes.iter().find(|change| !names.iter().any(|name| change.is_for(name))) {
        Some(missing) => {
            Err(format!("has no container '{}'; it has {}", missing.container, names.join(", ")))
        }
        None => Ok(operations),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(changes: &[&str]) -> Result<Vec<String>, String> {
        let template = json!({ "spec": {
            "initContainers": [{ "name": "init", "image": "i:1" }],
            "containers": [{ "name": "app", "image": "a:1" }, { "name": "side", "image": "s:1" }],
        } });
        let changes: Vec<ImageChange> = changes.iter().map(|text| text.parse().unwrap()).collect();
        let operations = set_images(&template, "/spec/template", &changes)?;
        Ok(operations
            .iter()
            .map(|one| {
                format!("{} {} {}", one["op"].as_str().unwrap(), one["path"].as_str().unwrap(), one["value"])
            })
            .collect())
    }

    #[test]
    fn only_the_named_containers_change_and_their_place_is_tested() {
        assert_eq!(
            patch(&["side=s:2"]).unwrap(),
            [
                r#"test /spec/template/spec/containers/1/name "side""#,
                r#"add /spec/template/spec/containers/1/image "s:2""#,
            ]
        );
        assert_eq!(patch(&["app=a:1"]).unwrap(), [""; 0], "as wanted already");
    }

    #[test]
    fn a_star_is_every_container_and_the_last_change_wins() {
        let all = patch(&["*=x:1", "app=a:3"]).unwrap().join("\n");
        assert!(all.contains(r#"add /spec/template/spec/initContainers/0/image "x:1""#), "{all}");
        assert!(all.contains(r#"add /spec/template/spec/containers/0/image "a:3""#), "{all}");
        assert!(all.contains(r#"add /spec/template/spec/containers/1/image "x:1""#), "{all}");
    }

    #[test]
    fn an_unknown_container_is_named_together_with_those_that_exist() {
        assert_eq!(patch(&["ap=a:2"]).unwrap_err(), "has no container 'ap'; it has init, app, side");
    }

    #[test]
    fn an_image_may_hold_an_equals_sign_and_must_not_be_empty() {
        assert!("app=example.com/a@sha256:b=c".parse::<ImageChange>().is_ok());
        for wrong in ["app", "app=", "=image", ""] {
            assert!(wrong.parse::<ImageChange>().is_err(), "{wrong}");
        }
    }
}
