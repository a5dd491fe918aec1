//! Reads the Secrets that a query names, live, and keeps their values out of everything else.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use headgate_model::{SecretRef, analysis::percent_encoded};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::time::timeout;

use crate::execute::explain;

/// Reading one Secret takes no longer.
const READ_TIME_LIMIT: Duration = Duration::from_secs(10);
/// What stands in messages where a value was.
const MASK: &str = "***";

/// Reads Secrets. Nothing is cached: a rotated password works at the next measurement.
#[derive(Clone)]
pub struct Secrets {
    client: Client,
}

/// Values by placeholder. Neither `Debug` nor `Display`: values must not get into logs.
#[derive(Default)]
pub struct Values(BTreeMap<String, String>);

impl Secrets {
    /// `client` reads with the rights of the controller.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Reads every value that a query needs, each Secret once.
    ///
    /// # Errors
    /// A sentence for the user: which Secret or key is missing or not allowed, and how to mend it.
    pub async fn read(
        &self,
        namespace: &str,
        wanted: &BTreeMap<String, SecretRef>,
    ) -> Result<Values, String> {
        let mut values = BTreeMap::new();
        let names = wanted.values().map(|reference| reference.name.as_str()).collect::<BTreeSet<_>>();
        for name in names {
            let secret = self.read_one(namespace, name).await?;
            for (placeholder, reference) in wanted.iter().filter(|(_, reference)| reference.name == name) {
                values.insert(placeholder.clone(), value(&secret, namespace, reference)?);
            }
        }
        Ok(Values(values))
    }

    async fn read_one(&self, namespace: &str, name: &str) -> Result<Secret, String> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        match timeout(READ_TIME_LIMIT, api.get(name)).await {
            Ok(Ok(secret)) => Ok(secret),
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => Err(format!(
                "Secret {name:?} does not exist in namespace {namespace:?}: create it, or correct the name in the AnalysisTemplate"
            )),
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                Err(forbidden(namespace, name, &status.message))
            }
            Ok(Err(error)) => Err(format!(
                "Secret {name:?} in namespace {namespace:?} could not be read: {}",
                explain(&error)
            )),
            Err(_elapsed) => Err(format!(
                "Secret {name:?} in namespace {namespace:?} could not be read within {READ_TIME_LIMIT:?}"
            )),
        }
    }
}

impl Values {
    /// The text with every placeholder replaced by its value; one that begins with `%` stands in a URL.
    pub fn fill_in(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (placeholder, value)| match placeholder.starts_with('%') {
            true => text.replace(placeholder, &percent_encoded(value)),
            false => text.replace(placeholder, value),
        })
    }

    /// The text without any of the values.
    pub fn mask(&self, text: &str) -> String {
        let forms = self.0.values().flat_map(|value| [value.clone(), percent_encoded(value)]);
        let mut values = forms.filter(|value| !value.is_empty()).collect::<Vec<_>>();
        // The longest first: one value may be a part of another.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.iter().fold(text.to_owned(), |text, value| text.replace(value, MASK))
    }
}

/// Line ends at the end are cut: `echo … | base64` puts one there, and no header may hold one.
fn value(secret: &Secret, namespace: &str, SecretRef { name, key }: &SecretRef) -> Result<String, String> {
    let place = format!("Secret {name:?} in namespace {namespace:?}");
    let data = secret.data.as_ref();
    let Some(bytes) = data.and_then(|data| data.get(key)) else {
        let keys = data.into_iter().flatten().map(|(key, _)| key.as_str()).collect::<Vec<_>>();
        return Err(format!(
            "{place} has no key {key:?} (it has: {}): add it, or correct the key in the AnalysisTemplate",
            keys.join(", ")
        ));
    };
    let text =
        std::str::from_utf8(&bytes.0).map_err(|_| format!("key {key:?} of {place} is not UTF-8 text"))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// Reading Secrets everywhere is more than a controller should be allowed: namespaces grant it.
fn forbidden(namespace: &str, name: &str, message: &str) -> String {
    let account = message
        .split('"')
        .find_map(|part| part.strip_prefix("system:serviceaccount:"))
        .unwrap_or("CONTROLLER_NAMESPACE:CONTROLLER_SERVICE_ACCOUNT");
    format!(
        "the controller may not read Secret {name:?} in namespace {namespace:?}: allow it with \
         `kubectl -n {namespace} create role headgate-secrets --verb=get --resource=secrets --resource-name={name}` and \
         `kubectl -n {namespace} create rolebinding headgate-secrets --role=headgate-secrets --serviceaccount={account}`"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use headgate_model::{SecretRef, analysis::percent_encoded};
    use serde_json::json;

    use super::{Secrets, Values};
    use crate::execute::tests::api_server;

    fn wanted(name: &str, key: &str) -> BTreeMap<String, SecretRef> {
        [("\u{1}secret:0\u{1}".to_owned(), SecretRef { name: name.into(), key: key.into() })].into()
    }

    async fn read(code: u16, body: serde_json::Value, key: &str) -> Result<Values, String> {
        let client = api_server(move |seen| {
            assert!(seen.starts_with("GET /api/v1/namespaces/shop/secrets/prom "), "{seen}");
            let body = body.clone();
            async move { (code, body) }
        });
        Secrets::new(client).read("shop", &wanted("prom", key)).await
    }

    #[tokio::test]
    async fn a_value_is_filled_in_without_its_line_end() {
        let secret = json!({"metadata": {"name": "prom"}, "data": {"token": "aHVudGVyMgo="}});
        let values = read(200, secret, "token").await.unwrap_or_default();
        assert_eq!(values.fill_in("Bearer \u{1}secret:0\u{1}"), "Bearer hunter2");
        assert_eq!(values.mask("401 for hunter2"), "401 for ***");
    }

    #[tokio::test]
    async fn what_is_missing_is_named_with_the_way_to_mend_it() {
        let secret = json!({"metadata": {"name": "prom"}, "data": {"pass": "", "user": ""}});
        let missing_key = read(200, secret, "token").await.err().unwrap();
        assert_eq!(
            missing_key,
            "Secret \"prom\" in namespace \"shop\" has no key \"token\" (it has: pass, user): add it, or correct the key in the AnalysisTemplate"
        );
        let status = |code: u16, message: &str| json!({"kind": "Status", "status": "Failure", "code": code, "message": message});
        let missing = read(404, status(404, "secrets \"prom\" not found"), "token").await.err().unwrap();
        assert!(missing.contains("does not exist in namespace \"shop\": create it"), "{missing}");
        let message =
            "secrets \"prom\" is forbidden: User \"system:serviceaccount:ops:gate\" cannot get resource";
        let forbidden = read(403, status(403, message), "token").await.err().unwrap();
        assert!(forbidden.contains("--resource-name=prom"), "{forbidden}");
        assert!(forbidden.ends_with("--serviceaccount=ops:gate`"), "{forbidden}");
    }

    #[test]
    fn a_value_within_a_url_is_encoded() {
        let values = Values(
            [("%01s%01".to_owned(), "a/b?".to_owned()), ("\u{1}s\u{1}".to_owned(), "a/b?".to_owned())].into(),
        );
        assert_eq!(values.fill_in("http://me:%01s%01@prom/ \u{1}s\u{1}"), "http://me:a%2Fb%3F@prom/ a/b?");
    }

    #[test]
    fn a_placeholder_for_urls_is_filled_in_percent_encoded_and_masked_in_both_forms() {
        let plain = "\u{1}secret:0\u{1}";
        let in_url = percent_encoded(plain);
        let filled = format!("http://p/?key={in_url} X-Key: {plain}");
        let value = "a&b=c d".to_owned();
        let values = Values([(plain.to_owned(), value.clone()), (in_url, value)].into());
        let filled = values.fill_in(&filled);
        assert_eq!(filled, "http://p/?key=a%26b%3Dc%20d X-Key: a&b=c d");
        assert_eq!(values.mask(&filled), "http://p/?key=*** X-Key: ***");
    }

    #[test]
    fn a_value_within_another_is_masked_too() {
        let values =
            Values([("a".to_owned(), "key".to_owned()), ("b".to_owned(), "monkey1".to_owned())].into());
        assert_eq!(values.mask("monkey1 key"), "*** ***");
    }
}
