//! Which value each argument has.

use super::{AnalysisProblem, field_path};
use headgate_api::{AnalysisRunArgument, Argument, ArgumentValueFrom, ValueFromPodTemplateHash};
use serde_json::Value;

/// What the arguments of an analysis may refer to.
#[derive(Clone, Copy)]
pub struct ArgumentContext<'a> {
    /// Pod template hash of the stable version; empty when there is none.
    pub stable_hash: &'a str,
    /// Pod template hash of the newest version.
    pub latest_hash: &'a str,
    /// Gives the Rollout as JSON, for field references: few arguments are any.
    pub rollout: &'a dyn Fn() -> Value,
}

/// The arguments that the templates declare, with the values that are given to them. Given values that no template
/// declares are ignored.
///
/// # Errors
/// An argument without a value from anywhere, or a reference to nothing.
pub(super) fn merge(
    given: &[AnalysisRunArgument],
    declared: Vec<Argument>,
    context: &ArgumentContext<'_>,
) -> Result<Vec<Argument>, AnalysisProblem> {
    declared.into_iter().map(|argument| valued(argument, given, context)).collect()
}

fn valued(
    declared: Argument,
    given: &[AnalysisRunArgument],
    context: &ArgumentContext<'_>,
) -> Result<Argument, AnalysisProblem> {
    let name = declared.name.as_str();
    // As with every list of Go structs merged by name, the last one wins.
    let given = given.iter().rev().filter(|argument| argument.name == name);
    for argument in given {
        if let Some(value) = given_value(argument, context)? {
            return Ok(Argument { name: declared.name, value: Some(value), value_from: None });
        }
    }
    let field = declared.value_from.as_ref().and_then(|from| from.field_ref.as_ref());
    match (&declared.value, field, &declared.value_from) {
        (Some(_), _, None) => Ok(declared),
        (_, Some(field), _) => {
            let value = field_path::value(name, &field.field_path, &(context.rollout)())?;
            Ok(Argument { value: Some(value), value_from: None, ..declared })
        }
        (_, None, Some(from)) if from.secret_key_ref.is_some() => Ok(Argument { value: None, ..declared }),
        (Some(_), None, Some(_)) => Ok(Argument { value_from: None, ..declared }),
        (None, None, _) => Err(AnalysisProblem::invalid(unresolved(name))),
    }
}

/// What to say about an argument without a value.
pub(super) fn unresolved(name: &str) -> String {
    format!(
        "args.{name} was not resolved: give it a value under args where the template is used, or in the template"
    )
}

/// The value that is written for an argument, if one is.
fn given_value(
    argument: &AnalysisRunArgument,
    context: &ArgumentContext<'_>,
) -> Result<Option<String>, AnalysisProblem> {
    let Some(from) = &argument.value_from else {
        return Ok(argument.value.clone());
    };
    let ArgumentValueFrom { pod_template_hash_value, field_ref } = from;
    match (pod_template_hash_value, field_ref) {
        (Some(ValueFromPodTemplateHash::Stable), _) => Ok(Some(context.stable_hash.to_owned())),
        (Some(ValueFromPodTemplateHash::Latest), _) => Ok(Some(context.latest_hash.to_owned())),
        (Some(ValueFromPodTemplateHash::Other(word)), _) => Err(AnalysisProblem::of_argument(
            &argument.name,
            &format!("podTemplateHashValue {word:?} is unknown: write Stable or Latest"),
        )),
        (None, Some(field)) => {
            field_path::value(&argument.name, &field.field_path, &(context.rollout)()).map(Some)
        }
        (None, None) => Ok(argument.value.clone()),
    }
}
