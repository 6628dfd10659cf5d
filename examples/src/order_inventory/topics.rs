//! The names of the program's topics.

/// The topics a run reads and writes. A prefix keeps runs apart that share a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// Orders placed and cancelled, by order id.
    pub orders: String,
    /// Goods in and out, by sku.
    pub stock_movements: String,
    /// Answers to orders, by order id.
    pub order_availability: String,
}

impl Topics {
    /// `<prefix>orders` and so on.
    pub fn with_prefix(prefix: &str) -> Self {
        Topics {
            orders: format!("{prefix}orders"),
            stock_movements: format!("{prefix}stock-movements"),
            order_availability: format!("{prefix}order-availability"),
        }
    }

    /// With another topic for the answers, which takes the same prefix.
    #[must_use]
    pub fn with_answers(self, prefix: &str, name: &str) -> Self {
        Topics { order_availability: format!("{prefix}{name}"), ..self }
    }

    /// All of them.
    pub fn all(&self) -> [&str; 3] {
        [&self.orders, &self.stock_movements, &self.order_availability]
    }
}
