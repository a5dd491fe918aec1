//! Reads the Secrets that a query names, live, and keeps their values out of everything else.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
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
pub(crate) const MASK: &str = "***";
/// A text may be JSON, and a string in it JSON again: a proxy quotes the answer of the server behind it.
const JSON_LEVELS: u8 = 2;

/// Reads Secrets. Nothing is cached: a rotated password works at the next measurement.
#[derive(Clone)]
pub struct Secrets {
    client: Client,
}

/// Neither `Debug` nor `Display`: values must not get into logs.
#[derive(Default)]
pub struct Values {
    by_placeholder: BTreeMap<String, String>,
    /// What to look for in texts: each value as it is and percent-encoded.
    forms: BTreeSet<String>,
}

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
        Ok(Values::new(values))
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
    fn new(by_placeholder: BTreeMap<String, String>) -> Self {
        let forms = by_placeholder.values().flat_map(|value| [value.clone(), percent_encoded(value)]);
        let forms = forms.filter(|form| !form.is_empty()).collect();
        Self { by_placeholder, forms }
    }

    /// Whether there is nothing to mask.
    pub fn is_empty(&self) -> bool {
        self.forms.is_empty()
    }

    /// The text with every placeholder replaced by its value; one that begins with `%` stands in a URL.
    pub fn fill_in(&self, text: &str) -> String {
        self.by_placeholder.iter().fold(text.to_owned(), |text, (placeholder, value)| {
            match placeholder.starts_with('%') {
                true => text.replace(placeholder, &percent_encoded(value)),
                false => text.replace(placeholder, value),
            }
        })
    }

    /// The text with a mask for every placeholder.
    pub fn mask_placeholders(&self, text: &str) -> String {
        let placeholders = self.by_placeholder.keys();
        placeholders.fold(text.to_owned(), |text, placeholder| text.replace(placeholder, MASK))
    }

    /// The text without any of the values, be it plain or JSON.
    pub fn mask(&self, text: &str) -> String {
        let mut found = self.places(text, JSON_LEVELS);
        found.sort_unstable_by_key(|place| place.start);
        let mut masked = String::new();
        let mut end = 0;
        for place in found {
            // One value may be a part of another, or overlap it: one mask for both.
            if place.start >= end {
                masked.push_str(&text[end..place.start]);
                masked.push_str(MASK);
            }
            end = end.max(place.end);
        }
        masked + &text[end..]
    }

    /// Where the values stand in a text: as they are, and escaped in up to so many levels of JSON.
    fn places(&self, text: &str, json_levels: u8) -> Vec<Range<usize>> {
        // To begin a search for a long value takes long, and there may be very many short texts.
        let forms = self.forms.iter().filter(|form| form.len() <= text.len());
        let mut places = forms.flat_map(|form| occurrences(text, form)).collect::<Vec<_>>();
        if json_levels > 0 && text.contains('\\') {
            let (unescaped, origins) = unescaped(text);
            let escaped = self.places(&unescaped, json_levels - 1);
            places.extend(escaped.into_iter().map(|place| origins[place.start]..origins[place.end]));
        }
        places
    }
}

fn occurrences(text: &str, part: &str) -> impl Iterator<Item = Range<usize>> {
    text.match_indices(part).map(|(start, part)| start..start + part.len())
}

/// The text without JSON's escapes, and for each of its bytes, and its end, where that comes from. To know where
/// escapes are is better than to know how a server writes them: each has other ones (Go `&`, Python all of `é`).
fn unescaped(text: &str) -> (String, Vec<usize>) {
    let mut unescaped = String::with_capacity(text.len());
    let mut origins = Vec::with_capacity(text.len() + 1);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (character, length) = escape(rest).unwrap_or((first, first.len_utf8()));
        unescaped.push(character);
        origins.resize(unescaped.len(), text.len() - rest.len());
        rest = &rest[length..];
    }
    origins.push(text.len());
    (unescaped, origins)
}

/// The character that the escape at the beginning of a text is, and the length of the escape.
fn escape(text: &str) -> Option<(char, usize)> {
    let character = match text.strip_prefix('\\')?.chars().next()? {
        same @ ('"' | '\\' | '/') => same,
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => return utf16_escape(text),
        _ => return None,
    };
    Some((character, 2))
}

/// As [`escape`], for `\uXXXX` and for the two of them that a rare character takes.
fn utf16_escape(text: &str) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let units = [unit(0), unit(6)].into_iter().map_while(|unit| unit);
    let character = char::decode_utf16(units).next()?.ok()?;
    Some((character, 6 * character.len_utf16()))
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
        let values = Values::new(
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
        let values = Values::new([(plain.to_owned(), value.clone()), (in_url, value)].into());
        let filled = values.fill_in(&filled);
        assert_eq!(filled, "http://p/?key=a%26b%3Dc%20d X-Key: a&b=c d");
        assert_eq!(values.mask(&filled), "http://p/?key=*** X-Key: ***");
    }

    /// Values none of which is ever filled in.
    fn values<const N: usize>(values: [&str; N]) -> Values {
        Values::new(values.map(|value| (value.to_owned(), value.to_owned())).into())
    }

    #[test]
    fn a_value_is_masked_however_json_escapes_it() {
        let values = values([r#"a&<é😀>"\/b"#]);
        for (writer, escaped) in [
            ("serde_json", r#"a&<é😀>\"\\/b"#),
            ("Go", r#"a\u0026\u003cé😀\u003e\"\\/b"#),
            ("Python", r#"a&<\u00e9\ud83d\ude00>\"\\/b"#),
            ("PHP", r#"a&<\u00e9\ud83d\ude00>\"\\\/b"#),
            (".NET", r#"a\u0026\u003C\u00E9\uD83D\uDE00\u003E\u0022\\/b"#),
        ] {
            let masked = values.mask(&format!(r#"{{"error":"for {escaped}\n"}}"#));
            assert_eq!(masked, r#"{"error":"for ***\n"}"#, "{writer}");
        }
    }

    #[test]
    fn a_value_in_an_answer_that_another_answer_quotes_is_masked() {
        let quoted = r#"{"error":"upstream: {\"error\":\"bad a\\u0026b\"}"}"#;
        assert_eq!(values(["a&b"]).mask(quoted), r#"{"error":"upstream: {\"error\":\"bad ***\"}"}"#);
    }

    #[test]
    fn what_only_looks_like_an_escape_stays() {
        let text = r#"C:\users \u00 \u+026 \uD83D \ud83d\u0041 \x é\"#;
        assert_eq!(values(["hunter2"]).mask(text), text);
    }

    #[test]
    fn values_that_overlap_leave_nothing() {
        assert_eq!(values(["abc", "bcd"]).mask("abcd"), "***");
    }

    #[test]
    fn masking_large_texts_and_many_takes_no_time_worth_a_word() {
        let started = std::time::Instant::now();
        let values = values([&"a".repeat(1 << 20), &"\\".repeat(1 << 19), "b"]);
        for text in ["a", "b", "\\", "\\u005cu005c", "\\u0061"] {
            values.mask(&text.repeat((1 << 20) / text.len()));
        }
        for _ in 0..50_000 {
            values.mask("one of very many warnings \\u0061");
        }
        // Quadratic, it would be hours.
        assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    }

    #[test]
    fn a_value_within_another_is_masked_too() {
        assert_eq!(values(["key", "monkey1"]).mask("monkey1 key"), "*** ***");
    }
}
