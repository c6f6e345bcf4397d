//! Gives each picture its class and its split.

use std::collections::BTreeSet;

use globset::{Glob, GlobBuilder, GlobMatcher};
use regex::Regex;

use super::choice::Draw;
use super::list::{Candidate, Found, shared};
use super::{Aside, Kind, Split, printable};
use crate::config::{self, Input, Label};

/// A setting that contradicts the files.
#[derive(Debug)]
pub struct Wrong {
    pub key: &'static str,
    pub message: String,
}

impl Wrong {
    pub(super) fn new(key: &'static str, message: impl Into<String>) -> Self {
        Self { key, message: message.into() }
    }
}

/// The rules by which candidates get their classes and splits.
pub struct Rules<'a> {
    pub(super) input: &'a Input,
    patterns: Vec<Pattern>,
    /// None where a table has the classes.
    rule: Option<Rule>,
}

impl<'a> Rules<'a> {
    pub fn of(input: &'a Input) -> Result<Self, Wrong> {
        let patterns = match &input.split {
            config::Split::Folders { train, test } => {
                vec![Pattern::new("input.split.train", train)?, Pattern::new("input.split.test", test)?]
            }
            _ => Vec::new(),
        };
        let is_told = matches!(input.split, config::Split::Csv { .. }) && !matches!(input.label, Label::Pattern(_));
        let rule = if is_told { None } else { Some(Rule::of(&input.label)?) };
        Ok(Self { input, patterns, rule })
    }

    /// Gives every candidate its class, and its split if there are patterns; candidates that match no split are put
    /// aside.
    pub fn assign(&self, found: &mut Found) -> Result<(), Wrong> {
        let Some(rule) = &self.rule else { return Ok(()) };
        let is_table = matches!(self.input.split, config::Split::Csv { .. });
        if is_table && found.candidates.iter().any(|candidate| candidate.label.is_some()) {
            let message = "the table has a column with labels already: leave one of the two out";
            return Err(Wrong::new("input.label", message));
        }
        let (mut labels, mut wrong) = (BTreeSet::new(), None);
        let Found { candidates, aside } = found;
        // in place, so that a list of a million is not copied
        candidates.retain_mut(|candidate| {
            let depth = match self.split_of(candidate) {
                Ok(Some((split, depth))) => {
                    candidate.split = split.or(candidate.split);
                    depth
                }
                Ok(None) => {
                    let (path, bytes) = (std::mem::take(&mut candidate.path), Some(candidate.bytes));
                    let reason = "matches neither `input.split.train` nor `input.split.test`".to_string();
                    aside.push(Aside { path, bytes, kind: Kind::Split, reason });
                    return false;
                }
                Err(both) => {
                    wrong.get_or_insert(both);
                    return true;
                }
            };
            // a class from the archive itself takes precedence over its folders
            if candidate.label.is_none() || !matches!(rule, Rule::Folder) {
                let inside = if matches!(rule, Rule::Pattern(_)) { 0 } else { candidate.inside };
                candidate.label =
                    rule.label_of(&candidate.path[inside..], depth).map(|label| shared(&mut labels, label));
            }
            true
        });
        wrong.map_or(Ok(()), Err)
    }

    /// The split that the patterns give, and the number of folders that belong to it; none if no pattern matches.
    fn split_of(&self, candidate: &Candidate) -> Result<Option<(Option<Split>, usize)>, Wrong> {
        let inside = &candidate.path[candidate.inside..];
        // the folders above the archive are not part of the path that has the class
        let above = candidate.path[..candidate.inside].matches('/').count();
        let depth_of = |pattern: &Pattern| match pattern.matcher.is_match(inside) {
            true => Some(pattern.depth),
            false if above == 0 => None,
            false => pattern.matcher.is_match(&candidate.path).then(|| pattern.depth.saturating_sub(above)),
        };
        let splits = [Split::Train, Split::Test];
        let mut hits = self.patterns.iter().zip(splits).filter_map(|(one, split)| Some((Some(split), depth_of(one)?)));
        match (hits.next(), hits.next()) {
            (None, _) if self.patterns.is_empty() => Ok(Some((None, 0))),
            (hit, None) => Ok(hit),
            (Some(_), Some(_)) | (None, Some(_)) => {
                let message = format!("{} matches both `train` and `test`", printable(&candidate.path));
                Err(Wrong::new("input.split", message))
            }
        }
    }

    /// The regular expression that extracts the class, if there is one.
    pub(super) fn pattern(&self) -> Option<&Regex> {
        if let Some(Rule::Pattern(regex)) = &self.rule { Some(regex) } else { None }
    }

    /// The settings of the random test split, if there is one.
    pub(super) fn draw(&self) -> Option<Draw> {
        match self.input.split {
            config::Split::Fraction { fraction, seed } | config::Split::Csv { fraction: Some(fraction), seed, .. } => {
                Some(Draw { fraction, seed })
            }
            _ => None,
        }
    }
}

/// A glob over paths, and the number of folders in it that name the split.
struct Pattern {
    matcher: GlobMatcher,
    depth: usize,
}

impl Pattern {
    fn new(key: &'static str, text: &str) -> Result<Self, Wrong> {
        let glob: Result<Glob, _> = GlobBuilder::new(text).literal_separator(true).build();
        let glob = glob.map_err(|error| Wrong::new(key, format!("`{text}` is not a pattern: {error}")))?;
        let literal = text.split('/').take_while(|part| is_literal(part));
        let parts = text.split('/').count();
        // the last part is the name of the file, even if it has no wildcard
        let depth = literal.count().min(parts.saturating_sub(1));
        Ok(Self { matcher: glob.compile_matcher(), depth })
    }
}

/// Whether a part of a glob has no wildcard: `train`, or one of `{train,val}`.
fn is_literal(part: &str) -> bool {
    let whole = part.matches('{').count() == part.matches('}').count();
    whole && !part.contains(['*', '?', '['])
}

/// The rule by which the class is read from a path.
enum Rule {
    Folder,
    Parent,
    None,
    Pattern(Regex),
}

impl Rule {
    fn of(label: &Label) -> Result<Self, Wrong> {
        Ok(match label {
            Label::Folder => Self::Folder,
            Label::Parent => Self::Parent,
            Label::None => Self::None,
            Label::Pattern(pattern) => {
                Self::Pattern(Label::regex(pattern).map_err(|reason| Wrong::new("input.label", reason))?)
            }
        })
    }

    /// The class in a path; the first `depth` folders belong to the split.
    fn label_of<'a>(&self, path: &'a str, depth: usize) -> Option<&'a str> {
        let folders = |path: &'a str| Some(path.rsplit_once('/')?.0.split('/'));
        match self {
            Self::Folder => folders(path)?.nth(depth),
            Self::Parent => folders(path)?.next_back(),
            Self::None => None,
            Self::Pattern(regex) => {
                let found = regex.captures(path)?;
                let class = found.name("label").or_else(|| found.get(usize::from(regex.captures_len() > 1)))?;
                Some(class.as_str()).filter(|class| !class.is_empty())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_is_the_first_folder_below_the_split() {
        assert_eq!(Rule::Folder.label_of("Training/Kiwi/more/a.jpg", 1), Some("Kiwi"));
        assert_eq!(Rule::Parent.label_of("Training/Kiwi/more/a.jpg", 1), Some("more"));
        assert_eq!(Rule::Folder.label_of("Training/a.jpg", 1), None);
        assert_eq!(Rule::Parent.label_of("a.jpg", 0), None);
        let depth = |text: &str| Pattern::new("k", text).map(|p| p.depth).map_err(|wrong| wrong.message);
        assert_eq!(depth("Training/**"), Ok(1));
        assert_eq!(depth("a/b/**/*.jpg"), Ok(2));
        assert_eq!(depth("**"), Ok(0));
        assert_eq!(depth("Training/Kiwi/a.jpg"), Ok(2));
        assert_eq!(depth("{train,val}/**"), Ok(1));
        assert_eq!(depth("{a/b,c}/**"), Ok(0));
        assert_eq!(depth("t*/{a,b}/**"), Ok(0));
        assert!(depth("a/[").is_err());
    }

    #[test]
    fn a_pattern_finds_the_class_in_the_path() {
        let class = |pattern: &str, path: &'static str| {
            Rule::of(&Label::Pattern(pattern.into())).map_err(|wrong| wrong.message).expect(pattern).label_of(path, 1)
        };
        assert_eq!(class(r"(cat|dog)\.\d+", "train/cat.0.jpg"), Some("cat"));
        assert_eq!(class(r"(cat|dog)\.\d+", "train/cow.0.jpg"), None);
        assert_eq!(class("cat|dog", "train/a dog.jpg"), Some("dog"), "without a group the whole match");
        assert_eq!(class(r"([a-z]+)/(?<label>\w+?)_\d", "train/Maine_Coon_12.jpg"), Some("Maine_Coon"));
        assert_eq!(class("train/(x)?", "train/a.jpg"), None, "a group that takes no part");
        assert_eq!(class("train/(x*)", "train/a.jpg"), None, "an empty class is none");
        assert!(Rule::of(&Label::Pattern(r"\w{9000}".into())).is_err_and(|wrong| wrong.message.contains("bytes")));
    }
}
