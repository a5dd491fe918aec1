//! One file a router. Pure: objects in, patches out.
