//! Objects as JSON, cut to what the driver reads.

use std::borrow::Cow;

use headgate_driver::io::Resource;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{ApiResource, GroupVersionKind};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// An object of any kind. Unlike kube's `DynamicObject` it keeps every field, known or not, and costs
/// one parse; its typed metadata holds only what a watch needs.
#[derive(Clone, Debug)]
pub struct Object {
    meta: ObjectMeta,
    value: Value,
}

impl Object {
    /// The JSON of this object, cut by [`slim`]; of a pod only what the driver reads.
    pub fn into_json(self, resource: &Resource) -> Value {
        headgate_driver::cut(*resource, slim(self.value, resource))
    }

    /// The same as an item of a live list, of which more is read.
    pub fn into_listed_json(self, resource: &Resource) -> Value {
        headgate_driver::cut_listed(*resource, slim(self.value, resource))
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let text = |field: &str| value.pointer(field).and_then(Value::as_str).map(str::to_owned);
        let meta = ObjectMeta {
            name: text("/metadata/name"),
            namespace: text("/metadata/namespace"),
            resource_version: text("/metadata/resourceVersion"),
            ..ObjectMeta::default()
        };
        Ok(Self { meta, value })
    }
}

impl kube::Resource for Object {
    type DynamicType = ApiResource;
    type Scope = kube::core::DynamicResourceScope;

    fn kind(dt: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&dt.kind)
    }

    fn group(dt: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&dt.group)
    }

    fn version(dt: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&dt.version)
    }

    fn plural(dt: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&dt.plural)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

/// The kind as kube names it. Nothing is asked of the server: the driver knows its kinds.
pub fn api_resource(resource: &Resource) -> ApiResource {
    let kind = GroupVersionKind::gvk(resource.group, resource.version, resource.kind);
    ApiResource::from_gvk_with_plural(&kind, resource.plural)
}

/// `group/version`, or the version alone for the core group.
pub fn api_version(resource: &Resource) -> String {
    api_resource(resource).api_version
}

/// Levels of `fieldsV1` that stay: `f:spec`, `f:http` and one more tell who writes what kind of field.
const FIELDS_DEPTH_MAX: usize = 3;

/// Cuts an object to what is read: of `managedFields`, by far the largest part of many objects, only
/// who writes which fields in general. Items of lists lack apiVersion and kind: they are added.
pub fn slim(mut value: Value, resource: &Resource) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.entry("apiVersion").or_insert_with(|| api_version(resource).into());
        object.entry("kind").or_insert_with(|| resource.kind.into());
    }
    let managers = value.pointer_mut("/metadata/managedFields").and_then(Value::as_array_mut);
    for fields in managers.into_iter().flatten().filter_map(|entry| entry.get_mut("fieldsV1")) {
        cut(fields, FIELDS_DEPTH_MAX);
    }
    value
}

/// Keeps so many levels of objects.
fn cut(value: &mut Value, levels: usize) {
    let Some(fields) = value.as_object_mut() else { return };
    if levels == 0 {
        fields.clear();
    }
    for field in fields.values_mut() {
        cut(field, levels.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Object, slim};
    use crate::execute::tests::REPLICA_SET;

    #[test]
    fn of_managed_fields_the_upper_levels_stay_and_every_other_field_survives() {
        let managed = |fields| {
            json!({
                "apiVersion": "apps/v1", "kind": "ReplicaSet",
                "metadata": {"name": "a", "fieldOfTheFuture": 1, "managedFields": [
                    {"manager": "kubectl", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": fields}
                ]},
                "spec": {"unknown": [1, 2.5, null]}
            })
        };
        let whole = json!({"f:spec": {"f:http": {}, "f:template": {"f:spec": {"f:containers": {"k:{}": {".": {}}}}}}});
        let short = json!({"f:spec": {"f:http": {}, "f:template": {"f:spec": {}}}});
        assert_eq!(slim(managed(whole), &REPLICA_SET), managed(short));
    }

    #[test]
    fn a_list_of_objects_is_read_without_losing_fields() {
        let list: kube::core::ObjectList<Object> = serde_json::from_value(json!({
            "kind": "ReplicaSetList", "apiVersion": "apps/v1", "metadata": {"resourceVersion": "7"},
            "items": [{"metadata": {"name": "a", "resourceVersion": "5"}, "big": 9007199254740993_i64}]
        }))
        .unwrap();
        let object = list.items.into_iter().next().unwrap();
        assert_eq!(kube::Resource::meta(&object).resource_version.as_deref(), Some("5"));
        assert_eq!(object.into_json(&REPLICA_SET)["big"], json!(9007199254740993_i64));
    }
}
