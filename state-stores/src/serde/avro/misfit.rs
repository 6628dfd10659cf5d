//! What does not fit, and where: the path of a field, and the reason.

/// A field that cannot be read, or cannot be made of what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    /// Empty for the whole.
    path: String,
    pub(super) reason: String,
}

impl Misfit {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self { path: String::new(), reason: reason.into() }
    }

    /// The same, seen from the record that has the field.
    pub(super) fn in_field(self, name: &str) -> Self {
        self.under(name.to_owned())
    }

    /// The same, seen from the array that has the item, or the map that has the value.
    pub(super) fn in_item(self, item: impl std::fmt::Display) -> Self {
        self.under(format!("[{item}]"))
    }

    fn under(self, mut path: String) -> Self {
        if !self.path.is_empty() && !self.path.starts_with('[') {
            path.push('.');
        }
        path.push_str(&self.path);
        Self { path, ..self }
    }

    /// Such as `lines[2].sku`; `.` is the whole.
    pub(super) fn path(&self) -> &str {
        if self.path.is_empty() { "." } else { &self.path }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_from_the_outside_in() {
        let misfit = Misfit::new("too long");
        assert_eq!(misfit.path(), ".");
        let path = |misfit: Misfit| misfit.path().to_owned();
        assert_eq!(path(misfit.clone().in_field("sku").in_item(2).in_field("lines")), "lines[2].sku");
        assert_eq!(path(misfit.in_item(0).in_item("a")), "[a][0]");
    }
}
