"""What AWS's services share: one way to ask them, and to say what went wrong."""
