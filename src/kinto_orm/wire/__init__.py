"""HTTP as data: requests, replies, flows, and the one thing that sends them."""
