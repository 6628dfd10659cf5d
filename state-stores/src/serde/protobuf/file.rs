//! Which messages a `.proto` file declares, and where: all that is asked of it here.

use std::collections::BTreeMap;

/// The messages that a file declares. Full names are made when they are asked for: all of them together may be much longer than the file.
pub(super) struct Messages {
    /// With a dot at the end, unless there is none.
    package: String,
    /// Their own names, by their places: the number among those of the file, then among those within that one, and so on.
    names: BTreeMap<Vec<u32>, String>,
}

/// Messages within so many others are none, as for `protoc`.
const MOST_NESTED: usize = 32;

impl Messages {
    pub(super) fn of(file: &str) -> Self {
        let (mut package, mut names) = (String::new(), BTreeMap::new());
        let mut open = vec![Scope { message: Some(Vec::new()), declared: 0 }];
        let mut statement: Vec<&str> = Vec::new();
        for token in tokens(file) {
            match token {
                "{" => {
                    let place = match (statement.as_slice(), open.last_mut()) {
                        (["message", name], Some(Scope { message: Some(outer), declared }))
                            if outer.len() < MOST_NESTED =>
                        {
                            let place = [outer.as_slice(), &[*declared]].concat();
                            *declared += 1;
                            names.insert(place.clone(), (*name).to_owned());
                            Some(place)
                        }
                        _ => None,
                    };
                    open.push(Scope { message: place, declared: 0 });
                    statement.clear();
                }
                "}" => {
                    // What closes more than it opened is no file; the outermost scope stays.
                    if open.len() > 1 {
                        open.pop();
                    }
                    statement.clear();
                }
                ";" => {
                    if let ["package", name] = statement.as_slice() {
                        package = format!("{name}.");
                    }
                    statement.clear();
                }
                word => statement.push(word),
            }
        }
        Self { package, names }
    }

    /// The full name of the message in a place.
    pub(super) fn name(&self, place: &[u32]) -> Option<String> {
        let within = (1..=place.len()).map(|depth| self.names.get(&place[..depth]).map(String::as_str));
        let names: Vec<&str> = within.collect::<Option<_>>().filter(|names: &Vec<_>| !names.is_empty())?;
        Some(format!("{}{}", self.package, names.join(".")))
    }

    /// The place of the message with this full name.
    pub(super) fn place(&self, name: &str) -> Option<&[u32]> {
        let is_it =
            |place: &[u32], own: &str| name.ends_with(own) && self.name(place).as_deref() == Some(name);
        self.names.iter().find(|(place, own)| is_it(place, own)).map(|(place, _)| place.as_slice())
    }

    /// All full names, in the order of the file.
    pub(super) fn full_names(&self) -> impl Iterator<Item = String> {
        self.names.keys().filter_map(|place| self.name(place))
    }
}

/// The file's words, so that files which differ only in layout and comments are equal.
pub(super) fn without_layout(file: &str) -> Vec<&str> {
    tokens(file).collect()
}

/// What is open at some place of the file: a message with its place, the file itself, or something that declares no messages.
struct Scope {
    message: Option<Vec<u32>>,
    /// How many messages were declared directly within.
    declared: u32,
}

/// Words, and each other character by itself, without comments. Texts in quotes are one word.
fn tokens(file: &str) -> impl Iterator<Item = &str> {
    let mut rest = file;
    std::iter::from_fn(move || {
        loop {
            rest = rest.trim_start();
            if let Some(comment) = rest.strip_prefix("//") {
                rest = comment.split_once('\n').map_or("", |(_, after)| after);
            } else if let Some(comment) = rest.strip_prefix("/*") {
                rest = comment.split_once("*/").map_or("", |(_, after)| after);
            } else {
                break;
            }
        }
        let first = rest.chars().next()?;
        let is_word = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '.';
        let length = match first {
            '"' | '\'' => quoted(rest, first),
            _ if is_word(first) => rest.find(|letter| !is_word(letter)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        Some(token)
    })
}

/// The length of the text in quotes that comes first.
fn quoted(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (place, letter) in text.char_indices().skip(1) {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            letter if letter == quote => return place + letter.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_wherever_they_are() {
        let file = r#"
            syntax = "proto3";
            // message Commented { }
            package shop.events;
            import "google/protobuf/timestamp.proto";
            option java_package = "a { message Quoted { } }";
            enum Kind { /* message No { } */ NONE = 0; }
            message Order {
                message Line { string sku = 1; message Price { int64 cents = 1; } }
                oneof payment { string card = 2; }
                enum State { OPEN = 0; }
                message Note { string text = 1; }
                repeated Line lines = 1 [deprecated = true];
            }
            service Orders { rpc Place(Order) returns (Order) { option deprecated = true; } }
            message Return { string order = 1; }
        "#;
        let messages = Messages::of(file);
        let expected = [
            (&[0][..], "shop.events.Order"),
            (&[0, 0], "shop.events.Order.Line"),
            (&[0, 0, 0], "shop.events.Order.Line.Price"),
            (&[0, 1], "shop.events.Order.Note"),
            (&[1], "shop.events.Return"),
        ];
        assert_eq!(messages.full_names().collect::<Vec<_>>(), expected.map(|(_, name)| name));
        for (place, name) in expected {
            assert_eq!(messages.name(place).as_deref(), Some(name));
            assert_eq!(messages.place(name), Some(place));
        }
        assert_eq!((messages.name(&[]), messages.name(&[2]), messages.name(&[1, 0])), (None, None, None));
        assert_eq!((messages.place("Order"), messages.place("shop.events.Line")), (None, None));
    }

    #[test]
    fn broken_files_have_what_can_be_found() {
        let names = |file| Messages::of(file).full_names().collect::<Vec<_>>();
        for file in ["", "}}} \"never closed", "/* never closed message A {", "é'\\'"] {
            assert!(names(file).is_empty(), "{file}");
        }
        assert_eq!(names("}} message A { "), ["A"]);
        assert_eq!(names(&"message A {".repeat(100)).len(), MOST_NESTED);
    }

    #[test]
    fn layout_and_comments_make_no_difference() {
        let one = without_layout("message A { // first\n  string b = 1; }");
        assert_eq!(one, without_layout("message A{string b=1;}"));
        assert_ne!(one, without_layout("message A{string c=1;}"));
    }
}
