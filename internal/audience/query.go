package audience

// A Query asks who is in an audience.
type Query struct {
	Expr       Expr        // And{} is everyone
	Attributes *Attributes // of the app
	Kind       Kind        // whom an expression is about that names nothing of a kind
}

// A ClauseCount is how many users a clause selects on its own.
type ClauseCount struct {
	Clause string
	Count  uint64
}

// An Estimate is how many users are in an audience; exactly, at one moment.
type Estimate struct {
	Count   uint64
	Clauses []ClauseCount
	Sample  []string // accounts, spread over the audience
}

// A ClauseMatch is whether a clause is true of a user.
type ClauseMatch struct {
	Clause string
	Match  bool
}

// An Explanation is why a user is in an audience or not.
type Explanation struct {
	Match   bool
	Clauses []ClauseMatch
	Traits  *Traits // the user's own
}

// A Page is a part of an audience's accounts. All pages of a list are of one
// moment, but for accounts deleted since, which are left out.
type Page struct {
	Accounts []string
	Next     string // asks for the next page; empty on the last
}

// A ValueCount is a value or a tag and how many users have it.
type ValueCount struct {
	Value string
	Count uint64
	Kind  Kind // of a tag
}

// A TagEdit says what becomes of a user's tags.
type TagEdit struct {
	Op     TagOp
	Tags   []string
	AppMax int // different tags that the app may have; 0 is no limit
}

// TagOp is what a TagEdit does.
type TagOp uint8

// The operations on tags. Limits bind those that add.
const (
	KeepTags    TagOp = iota // nothing
	AddTags                  // to those there are
	ReplaceTags              // the user has these and no others
	RemoveTags               // those the user has of these
	ClearTags                // all
)

// DefaultAppTags is how many different tags an app may have unless it says
// otherwise (spec/timpush-api.md, 5).
const DefaultAppTags = 1000
