//! The defects made on purpose. That each is found, by the rule that it breaks, is for `headgate-sim --defects --seeds 2000`,
//! which CI runs with optimisation: there are many worlds to try.

use headgate_sim::Defect;
use headgate_sim::checkers::RULES;

#[test]
fn every_defect_has_a_name_by_which_it_can_be_asked_for() {
    for defect in Defect::ALL {
        assert_eq!(Defect::named(&format!("{defect:?}")), Some(defect));
    }
    assert_eq!(Defect::named("None"), None);
}

#[test]
fn every_defect_breaks_rules_that_there_are_and_every_rule_has_a_defect() {
    let broken: Vec<&str> = Defect::ALL.into_iter().flat_map(Defect::breaks).copied().collect();
    for rule in &broken {
        assert!(RULES.contains(rule), "{rule} is no rule");
    }
    for rule in RULES {
        assert!(broken.contains(&rule), "nothing breaks {rule}");
    }
}
