//! The words that name a split, in the names of folders and in tables.

use super::Split;

/// The purpose of a folder, or of the pictures of a table with a certain word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Train,
    Validation,
    Test,
}

const TRAIN: [&str; 3] = ["train", "training", "trn"];
const VALIDATION: [&str; 7] = ["val", "valid", "validation", "validate", "dev", "eval", "evaluation"];
const TEST: [&str; 5] = ["test", "testing", "tst", "holdout", "heldout"];
/// Words without a meaning beside that of the split.
const FILLERS: &str = "set sets data dataset image images img imgs picture pictures photos pics folder split";

/// Whether `word` is one of `words`, which are separated by spaces.
pub(crate) fn is_one(words: &str, word: &str) -> bool {
    words.split(' ').any(|one| one == word)
}

impl Role {
    /// The role of a word in a table that has no other words beside it, in any letter case.
    pub fn of(word: &str) -> Option<Self> {
        role(word).filter(|(_, beside)| beside.is_empty()).map(|(role, _)| role)
    }

    /// The split of the pictures with this role, or the reason why they are left out. `has_test` tells whether there
    /// are also pictures with the role of the test split.
    pub fn split(self, has_test: bool) -> Result<Split, &'static str> {
        match self {
            Self::Train => Ok(Split::Train),
            Self::Validation if has_test => Err("of the split `validation`, which takes no part beside `test`"),
            Self::Validation | Self::Test => Ok(Split::Test),
        }
    }
}

/// The role in the name of a folder, and the other words of the name: `seg_train` is the train split of `seg`,
/// `Training_Set` is a train split without other words.
pub fn role(name: &str) -> Option<(Role, String)> {
    let mut words = words(name);
    words.retain(|word| !is_one(FILLERS, word));
    let roles: Vec<Option<Role>> = words.iter().map(|word| role_of(word)).collect();
    let at = roles.iter().position(Option::is_some)?;
    let alone = roles.iter().flatten().count() == 1 && (at == 0 || at + 1 == words.len());
    let role = roles[at].filter(|_| alone)?;
    words.remove(at);
    Some((role, words.join(" ")))
}

fn role_of(word: &str) -> Option<Role> {
    let plain = FILLERS.split(' ').find_map(|filler| word.strip_suffix(filler).filter(|rest| rest.len() > 2));
    [Some(word), plain].into_iter().flatten().find_map(|word| match word {
        word if TRAIN.contains(&word) => Some(Role::Train),
        word if VALIDATION.contains(&word) => Some(Role::Validation),
        word if TEST.contains(&word) => Some(Role::Test),
        _ => None,
    })
}

/// The words of a name in lower case, without trailing numbers: `Test_Set`, `testSet1` and `test-set` are `test set`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for c in name.chars() {
        if !c.is_alphanumeric() || before.is_lowercase() && c.is_uppercase() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
        before = c;
    }
    let words = words.iter().map(|word| word.trim_end_matches(|c: char| c.is_ascii_digit()));
    let words: Vec<String> = words.filter(|word| !word.is_empty()).map(String::from).collect();
    words.join(" ").replace("hold out", "holdout").replace("held out", "heldout").split(' ').map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_are_known_by_their_usual_words() {
        use Role::{Test, Train, Validation};
        for (name, known, beside) in [
            ("train", Train, ""),
            ("Training_Set", Train, ""),
            ("TrainImages", Train, ""),
            ("TRAIN", Train, ""),
            ("train2017", Train, ""),
            ("trainset", Train, ""),
            ("seg_train", Train, "seg"),
            ("Training Data", Train, ""),
            ("test1", Test, ""),
            ("Test_Set", Test, ""),
            ("hold-out", Test, ""),
            ("holdout", Test, ""),
            ("testing", Test, ""),
            ("dev", Validation, ""),
            ("val", Validation, ""),
            ("Validation-set", Validation, ""),
            ("eval", Validation, ""),
            ("test tubes", Test, "tubes"),
        ] {
            assert_eq!(role(name), Some((known, beside.to_string())), "{name}");
        }
        for name in ["cat", "trains", "contest", "a train b", "train test", "validity", "2017", "", "seg_pred"] {
            assert_eq!(role(name), None, "{name}");
        }
    }

    #[test]
    fn a_word_of_a_table_is_that_of_a_folder() {
        for (word, role) in [
            ("train", Some(Role::Train)),
            ("TRAIN", Some(Role::Train)),
            ("Training", Some(Role::Train)),
            ("Test", Some(Role::Test)),
            ("test_set", Some(Role::Test)),
            ("val", Some(Role::Validation)),
            ("Validation", Some(Role::Validation)),
            ("seg_train", None),
            ("0", None),
            ("", None),
        ] {
            assert_eq!(Role::of(word), role, "{word}");
        }
        assert_eq!([true, false].map(|test| Role::Validation.split(test).ok()), [None, Some(Split::Test)]);
    }
}
