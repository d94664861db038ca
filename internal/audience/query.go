package audience

// A Query selects an audience.
type Query struct {
	Expr       Expr        // And{} selects everyone
	Attributes *Attributes // of the app
	Kind       Kind        // account type of the audience, if Expr names no attribute or tag
}

// A ClauseCount says how many users a clause selects on its own.
type ClauseCount struct {
	Clause string
	Count  uint64
}

// An Estimate says how many users are in an audience: exactly, at one moment.
type Estimate struct {
	Count   uint64
	Clauses []ClauseCount
	Sample  []string // accounts, spread over the audience
}

// A ClauseMatch says whether a clause is true of a user.
type ClauseMatch struct {
	Clause string
	Match  bool
}

// An Explanation says why a user is in an audience or not.
type Explanation struct {
	Match   bool
	Clauses []ClauseMatch
	Traits  *Traits // of the user
}

// A Page holds a part of the accounts of an audience. All pages of a list show the
// audience at one moment, without the accounts that were deleted since.
type Page struct {
	Accounts []string
	Next     string // token of the next page; empty on the last
}

// A ValueCount says how many users have a value or a tag.
type ValueCount struct {
	Value string
	Count uint64
	Kind  Kind // of a tag
}

// A TagEdit is a change of a user's tags.
type TagEdit struct {
	Op     TagOp
	Tags   []string
	AppMax int // most different tags that the app may have; 0 is no limit of its own
}

// TagOp is the kind of a TagEdit.
type TagOp uint8

// The operations on tags. Limits hold for those that add.
const (
	KeepTags    TagOp = iota // changes nothing
	AddTags                  // adds Tags
	ReplaceTags              // adds Tags and removes all others
	RemoveTags               // removes Tags, as far as the user has them
	ClearTags                // removes all
)

// DefaultAppTags is the most different tags of an app that does not set max_tags
// (spec/timpush-api.md, 5).
const DefaultAppTags = 1000
