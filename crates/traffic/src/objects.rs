//! What all routers ask of the objects that they are given.

use headgate_model::{ObjectKey, Objects, Observed, RouterConfig, RouterProblem};
use serde_json::{Map, Value};

/// The name under which the API server notes our writes in managedFields.
const FIELD_MANAGER: &str = "headgate";

/// The object, which must exist. `field` is the spec's field that names it.
///
/// # Errors
/// [`RouterProblem::Unknown`] and [`RouterProblem::Missing`].
pub(crate) fn present<'a>(
    objects: &'a Objects,
    key: &ObjectKey,
    field: &str,
) -> Result<&'a Value, RouterProblem> {
    match objects.get(key) {
        Some(Observed::Present(object)) => Ok(object),
        Some(Observed::Unknown) | None => Err(RouterProblem::Unknown(key.clone())),
        Some(Observed::Absent) => Err(RouterProblem::Missing {
            object: key.clone(),
            field: field.to_owned(),
            message: format!(
                "{} {:?} does not exist in namespace {:?}: create it, or correct {field}",
                key.kind.kind, key.name, key.namespace
            ),
        }),
    }
}

/// One part for each item of `list`, and one for `single` where that names an object beside it; `of_single` are fields about
/// that one only. `of_item` writes an item as the fields that name a single object.
pub(crate) fn parts(
    config: &RouterConfig,
    (single, list): (&str, &str),
    of_single: &[&str],
    of_item: impl Fn(&Value) -> Map<String, Value>,
) -> Vec<RouterConfig> {
    let Value::Object(written) = &config.config else { return vec![config.clone()] };
    let items = written.get(list).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if items.is_empty() {
        return vec![config.clone()];
    }
    let mut alone = written.clone();
    alone.remove(list);
    let mut common = alone.clone();
    common.retain(|field, _| field != single && !of_single.contains(&field.as_str()));
    let is_named = |value: &&Value| !value.is_null() && value.as_str() != Some("");
    let beside = written.get(single).filter(is_named);
    let beside = beside.map(|_| RouterConfig { config: Value::Object(alone), ..config.clone() });
    let of_items = items.iter().enumerate().map(|(index, item)| {
        let fields = common.clone().into_iter().chain(of_item(item)).collect();
        let item = Some(format!("{list}[{index}]"));
        RouterConfig { config: Value::Object(fields), item, ..config.clone() }
    });
    beside.into_iter().chain(of_items).collect()
}

/// What a client gets of the canary, of `total`, whatever the two weights sum to. Whoever gets some requests is never
/// rounded to none.
pub(crate) fn share(stable: i64, canary: i64, total: i32) -> i32 {
    let (stable, canary, whole) = (i128::from(stable), i128::from(canary), i128::from(total));
    let sum = stable + canary;
    if canary <= 0 || sum <= 0 {
        return 0;
    }
    let exact = (canary * whole + sum / 2) / sum;
    let most = if stable > 0 { (whole - 1).max(1) } else { whole };
    i32::try_from(exact.clamp(1, most)).unwrap_or(total)
}

/// The last field manager other than us that wrote these fields, where managedFields are there. `path` is in the words of
/// `fieldsV1`, such as `f:spec`, `f:http`.
pub(crate) fn writer_of(object: &Value, path: &[&str]) -> Option<String> {
    let managers = object.pointer("/metadata/managedFields")?.as_array()?;
    let writes = |entry: &&Value| {
        path.iter().try_fold(entry.get("fieldsV1")?, |fields, key| fields.get(key)).map(|_| ())
    };
    let name = |entry: &Value| entry.get("manager").and_then(Value::as_str).map(str::to_owned);
    managers
        .iter()
        .filter(|entry| writes(entry).is_some())
        .filter_map(name)
        .rfind(|manager| manager != FIELD_MANAGER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_what_clients_get_and_a_little_is_never_nothing() {
        assert_eq!(share(80, 20, 100), 20);
        assert_eq!(share(8, 2, 1000), 200, "weights need not sum to the total");
        assert_eq!(share(9_999, 1, 100), 1);
        assert_eq!(share(1, 9_999, 100), 99);
        assert_eq!((share(0, 5, 100), share(5, 0, 100), share(0, 0, 100)), (100, 0, 0));
        assert_eq!(share(i64::MAX, i64::MAX, 100), 50);
    }
}
