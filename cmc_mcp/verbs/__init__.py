"""What each verb takes, as data: a frozen model a verb, from which the faces and the checks are derived."""
