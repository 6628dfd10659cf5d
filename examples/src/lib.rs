//! Programs that show what using millstream looks like. Each is a module here and a thin binary in `bin/`; they depend on the
//! facade `millstream` alone, as a user's program does.

pub mod order_inventory;
