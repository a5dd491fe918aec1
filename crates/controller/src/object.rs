//! Objects as JSON, cut to what the driver reads.

use std::{borrow::Cow, fmt};

use headgate_driver::{io::Resource, resources::ROLLOUTS};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{ApiResource, GroupVersionKind};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value, json};

/// So many levels of an object are read: far more than any needs. At 128 serde_json gives up the whole text, and with one
/// object everything that stands beside it in a list.
const LEVELS_MAX: usize = 100;

/// An object of any kind. Unlike kube's `DynamicObject` it keeps every field, known or not, and costs
/// one parse; its typed metadata holds only what a watch needs.
#[derive(Clone, Debug)]
pub struct Object {
    meta: ObjectMeta,
    value: Value,
    /// It has more levels than [`LEVELS_MAX`]: `null` stands for what lies deeper.
    is_cut: bool,
}

impl Object {
    /// The JSON of this object, cut by [`slim`]; of a pod only what the driver reads.
    pub fn into_json(self, resource: &Resource) -> Value {
        headgate_driver::cut(*resource, self.into_answer(resource))
    }

    /// The same as an item of a live list, of which more is read.
    pub fn into_listed_json(self, resource: &Resource) -> Value {
        headgate_driver::cut_listed(*resource, self.into_answer(resource))
    }

    /// The same as the answer to a call: also of a pod every field.
    pub fn into_answer(self, resource: &Resource) -> Value {
        let mut value = self.value;
        if self.is_cut {
            tracing::warn!(
                kind = resource.kind,
                namespace = self.meta.namespace,
                name = self.meta.name,
                "nested deeper than {LEVELS_MAX} levels: its spec counts as invalid"
            );
            make_invalid(&mut value, resource);
        }
        slim(value, resource)
    }
}

/// Nobody may act on a spec with a hole in it: a pod template would get another hash, and be released. An object that is
/// left out would count as deleted. So it stays, and its spec is one that nothing accepts and that says why: a Rollout is
/// told so in its status and stands still, a template is told of by the Rollouts that name it, a run ends with an error.
fn make_invalid(value: &mut Value, resource: &Resource) {
    let why = format!("{} nested deeper than {LEVELS_MAX} levels: its spec is not read", resource.kind);
    // Of a Rollout the first field that is checked: where the whole spec is a text, its status would not quote it.
    let spec = if *resource == ROLLOUTS { json!({"replicas": why}) } else { why.into() };
    if let Some(fields) = value.as_object_mut() {
        fields.insert("spec".to_owned(), spec);
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut is_cut = false;
        let value = Levels { left: LEVELS_MAX, is_cut: &mut is_cut }.deserialize(deserializer)?;
        let text = |field: &str| value.pointer(field).and_then(Value::as_str).map(str::to_owned);
        let meta = ObjectMeta {
            name: text("/metadata/name"),
            namespace: text("/metadata/namespace"),
            resource_version: text("/metadata/resourceVersion"),
            ..ObjectMeta::default()
        };
        Ok(Self { meta, value, is_cut })
    }
}

/// Reads any value, but of lists and objects only so many levels.
struct Levels<'a> {
    left: usize,
    is_cut: &'a mut bool,
}

impl Levels<'_> {
    fn below(&mut self) -> Levels<'_> {
        Levels { left: self.left.saturating_sub(1), is_cut: self.is_cut }
    }
}

impl<'de> DeserializeSeed<'de> for Levels<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// What is ignored is read without recursion: no depth makes it fail.
impl<'de> Visitor<'de> for Levels<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        if self.left == 0 {
            *self.is_cut = true;
            return IgnoredAny.visit_seq(items).map(|IgnoredAny| Value::Null);
        }
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(self.below())? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Value, A::Error> {
        if self.left == 0 {
            *self.is_cut = true;
            return IgnoredAny.visit_map(entries).map(|IgnoredAny| Value::Null);
        }
        let mut fields = Map::new();
        while let Some(key) = entries.next_key()? {
            fields.insert(key, entries.next_value_seed(self.below())?);
        }
        Ok(fields.into())
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
    use headgate_driver::resources::{ANALYSIS_TEMPLATES, ROLLOUTS};
    use headgate_model::validate;
    use serde_json::{Value, json};

    use super::{LEVELS_MAX, Object, slim};
    use crate::execute::tests::{REPLICA_SET, nested};

    /// An object of so many levels, as the API server sends it.
    fn deep(levels: usize) -> Object {
        let spec = format!("{}1{}", r#"{"a":"#.repeat(levels - 1), "}".repeat(levels - 1));
        let text =
            format!(r#"{{"metadata": {{"name": "a"}}, "status": {{"phase": "Healthy"}}, "spec": {spec}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn an_object_is_read_whole_up_to_the_last_level_and_counts_as_invalid_beyond() {
        let whole = deep(LEVELS_MAX);
        assert!(!whole.is_cut);
        assert_eq!(whole.into_answer(&ROLLOUTS)["spec"], nested(LEVELS_MAX - 1));
        for levels in [LEVELS_MAX + 1, 200, 5000] {
            let rollout = deep(levels).into_json(&ROLLOUTS);
            assert_eq!(
                (&rollout["metadata"]["name"], &rollout["status"]["phase"]),
                (&json!("a"), &json!("Healthy"))
            );
            let problem = validate(&rollout["spec"]).unwrap_err().to_string();
            assert!(
                problem.contains("Rollout nested deeper than 100 levels: its spec is not read"),
                "{problem}"
            );
            assert!(matches!(&deep(levels).into_json(&ANALYSIS_TEMPLATES)["spec"], Value::String(_)));
        }
    }

    #[test]
    fn what_is_not_too_deep_is_read_as_serde_json_reads_it() {
        let text =
            r#"{"a": [null, true, -1, 18446744073709551615, 1.5, "\u00e4", [], {}], "a\n": {"b": [[1]]}}"#;
        let object: Object = serde_json::from_str(text).unwrap();
        assert_eq!(object.value, serde_json::from_str::<Value>(text).unwrap());
    }

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
