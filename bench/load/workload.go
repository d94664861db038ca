package load

import "fmt"

// A Workload makes the requests of a run.
type Workload struct {
	Users    int    // users in one request
	Requests uint64 // requests after which users come again; 0: it does not matter

	// Append appends the body of request number seq to dst and names the
	// command, such as timpush/remove_attr. It is called from many
	// goroutines at once.
	Append func(dst []byte, seq uint64) (command string, body []byte)
	// Head appends the head of request number seq to dst, with the length of its body. It is
	// for requests that are no commands; nil: the head is that of the command. It is
	// called like Append.
	Head func(dst []byte, seq uint64, length int) []byte
	// Answer, if not nil, sees the body of each answer. It is called like Append.
	Answer func(seq uint64, body []byte)
	// Target returns which target of the client request number seq goes to;
	// nil: the first. It is called like Append.
	Target func(seq uint64) int
}

// From returns the workload begun at its request number first.
func (w Workload) From(first uint64) Workload {
	next := w
	next.Append = func(dst []byte, seq uint64) (string, []byte) { return w.Append(dst, first+seq) }
	if w.Target != nil {
		next.Target = func(seq uint64) int { return w.Target(first + seq) }
	}
	if w.Head != nil {
		next.Head = func(dst []byte, seq uint64, length int) []byte { return w.Head(dst, first+seq, length) }
	}
	if w.Answer != nil {
		next.Answer = func(seq uint64, body []byte) { w.Answer(first+seq, body) }
	}
	return next
}

// Over returns the workload of a number of targets. Each target gets all requests of w.
// The targets take turns.
func (w Workload) Over(targets int) Workload {
	n := uint64(targets)
	return Workload{
		Users: w.Users, Requests: w.Requests * n,
		Append: func(dst []byte, seq uint64) (string, []byte) { return w.Append(dst, seq/n) },
		Target: func(seq uint64) int { return int(seq % n) },
	}
}

// The attributes of users that Fill sets, by slot.
var attrNames = [...]string{"sex", "city", "country"}

// attrValues are the values of each attribute, the frequent ones first.
var attrValues = [...][]string{numbered("%c", "fm"), numberedTo("city%03d", 300), numberedTo("country%02d", 50)}

func numbered(format, letters string) (values []string) {
	for _, r := range letters {
		values = append(values, fmt.Sprintf(format, r))
	}
	return values
}

func numberedTo(format string, n int) (values []string) {
	for i := range n {
		values = append(values, fmt.Sprintf(format, i))
	}
	return values
}

// attrValue returns the value of an attribute of a user. The value depends on nothing
// else, so that setting a removed attribute brings back what was there. Values of small
// number are much more frequent: the number is the cube of a uniform share.
func attrValue(attr int, user uint64) string {
	values := attrValues[attr]
	share := float64(mix(user<<2|uint64(attr))>>11) / (1 << 53)
	if len(values) > 2 {
		share *= share * share
	}
	return values[int(share*float64(len(values)))]
}

// RemoveAttr returns a workload that removes sex and city from n users a request.
func RemoveAttr(u Users, n int) Workload {
	return Workload{Users: n, Requests: u.n / uint64(n), Append: func(dst []byte, seq uint64) (string, []byte) {
		return "timpush/remove_attr", u.appendRemove(dst, seq, n)
	}}
}

// SetAttr returns a workload that gives sex and city back to n users a request.
func SetAttr(u Users, n int) Workload {
	return Workload{Users: n, Requests: u.n / uint64(n), Append: func(dst []byte, seq uint64) (string, []byte) {
		return "timpush/set_attr", u.appendSet(dst, seq, n, 2)
	}}
}

// GiveAttr returns a workload that gives n users a request other values of sex and city.
// The values depend on the turn, so each request of a turn changes every user in it.
func GiveAttr(u Users, n, turn int) Workload {
	return Workload{Users: n, Requests: u.n / uint64(n), Append: func(dst []byte, seq uint64) (string, []byte) {
		dst = append(dst, `{"UserAttrs":[`...)
		for i := range uint64(n) {
			user := u.nth(seq*uint64(n) + i)
			dst = append(dst, `{"To_Account":"`...)
			dst = appendUser(dst, user)
			dst = append(dst, `","Attrs":{"sex":"`...)
			dst = append(dst, "fm"[(user+uint64(turn))%2])
			dst = append(dst, `","city":"`...)
			dst = append(dst, attrValues[1][(user+uint64(turn))%uint64(len(attrValues[1]))]...)
			dst = append(dst, `"}},`...)
		}
		return "timpush/set_attr", append(dst[:len(dst)-1], `]}`...)
	}}
}

// AddTag returns a workload that gives n users a request a tag. The tag depends on the
// turn, so that users do not have it in the first 100 turns after ClearTags.
func AddTag(u Users, n, turn int) Workload {
	return Workload{Users: n, Requests: u.n / uint64(n), Append: func(dst []byte, seq uint64) (string, []byte) {
		dst = append(dst, `{"UserTags":[`...)
		for i := range uint64(n) {
			user := u.nth(seq*uint64(n) + i)
			dst = append(dst, `{"To_Account":"`...)
			dst = appendUser(dst, user)
			dst = append(dst, `","Tags":["`...)
			dst = append(dst, moreTags[(user+uint64(turn))%uint64(len(moreTags))]...)
			dst = append(dst, `"]},`...)
		}
		return "timpush/add_tag", append(dst[:len(dst)-1], `]}`...)
	}}
}

// moreTags are tags that no population has.
var moreTags = numberedTo("more%03d", 100)

// ClearTags returns a workload that takes all tags from n users a request.
func ClearTags(u Users, n int) Workload {
	return Workload{Users: n, Requests: u.n / uint64(n), Append: func(dst []byte, seq uint64) (string, []byte) {
		dst = append(dst, `{"To_Account":[`...)
		for i := range uint64(n) {
			dst = append(dst, '"')
			dst = appendUser(dst, u.nth(seq*uint64(n)+i))
			dst = append(dst, `",`...)
		}
		return "timpush/clear_all_tags", append(dst[:len(dst)-1], `]}`...)
	}}
}

// GetAttr returns a workload that reads the attributes of n users a request.
func GetAttr(u Users, n int) Workload {
	return Workload{Users: n, Append: func(dst []byte, seq uint64) (string, []byte) {
		dst = append(dst, `{"To_Account":[`...)
		for i := range uint64(n) {
			dst = append(dst, '"')
			dst = appendUser(dst, u.nth(seq*uint64(n)+i))
			dst = append(dst, `",`...)
		}
		return "timpush/get_attr", append(dst[:len(dst)-1], `]}`...)
	}}
}

// Import returns a workload that creates n accounts a request.
func Import(u Users, n int) Workload {
	return Workload{Users: n, Requests: u.n / uint64(n), Append: func(dst []byte, seq uint64) (string, []byte) {
		dst = append(dst, `{"AccountList":[`...)
		for i := range uint64(n) {
			dst = append(dst, `{"UserID":"`...)
			dst = appendUser(dst, u.nth(seq*uint64(n)+i))
			dst = append(dst, `"},`...)
		}
		return "im_open_login_svc/multiaccount_import", append(dst[:len(dst)-1], `]}`...)
	}}
}

// setAll returns a workload that gives n users a request all their attributes.
func setAll(u Users, n int) Workload {
	return Workload{Users: n, Requests: u.n / uint64(n), Append: func(dst []byte, seq uint64) (string, []byte) {
		return "timpush/set_attr", u.appendSet(dst, seq, n, len(attrNames))
	}}
}

func (u Users) appendRemove(dst []byte, seq uint64, n int) []byte {
	dst = append(dst, `{"UserAttrs":[`...)
	for i := range uint64(n) {
		dst = append(dst, `{"To_Account":"`...)
		dst = appendUser(dst, u.nth(seq*uint64(n)+i))
		dst = append(dst, `","Attrs":["sex","city"]},`...)
	}
	return append(dst[:len(dst)-1], `]}`...)
}

// appendSet sets the first attrs attributes.
func (u Users) appendSet(dst []byte, seq uint64, n, attrs int) []byte {
	dst = append(dst, `{"UserAttrs":[`...)
	for i := range uint64(n) {
		user := u.nth(seq*uint64(n) + i)
		dst = append(dst, `{"To_Account":"`...)
		dst = appendUser(dst, user)
		dst = append(dst, `","Attrs":{`...)
		for attr := range attrs {
			dst = append(dst, '"')
			dst = append(dst, attrNames[attr]...)
			dst = append(dst, `":"`...)
			dst = append(dst, attrValue(attr, user)...)
			dst = append(dst, `",`...)
		}
		dst = append(dst[:len(dst)-1], `}},`...)
	}
	return append(dst[:len(dst)-1], `]}`...)
}
