package apierr

// A ReservedCode is a code of the hosted service that this server never
// returns, and that no Kind may have for another failure.
type ReservedCode struct {
	Code   int
	Text   string // what the hosted service means by the code
	Reason string // why this server has no use for the code
}

// Reserved returns the codes of features of the hosted service that this server
// does not have, in code order. Contract: spec/conventions.md, 3.1.
func Reserved() []ReservedCode {
	return []ReservedCode{
		{60010, "the caller is not an admin of the app", "every service that this server has uses a code of its own: 90009 or 70403"},
		{60027, "a push-only app may not use other services", "there are no other services; their commands are answered 60009"},
		{60028, "the calls of a trial edition for 24 hours are used up", "there are no editions; an app can have a limit of calls per second, 60011"},
	}
}
