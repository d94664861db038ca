package load

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// traitValues are the values of a member's attributes but the unique one.
var traitValues = [...][]string{
	{"free", "paid"}, numberedTo("platform%d", 10), numberedTo("region%02d", 50), numberedTo("city%03d", 200), numberedTo("%04d", 1000),
}

// Serial is the attribute whose values are unique.
const Serial = "serial"

const (
	tagsEach = 5
	allTags  = 500
)

var tagNames = numberedTo("tag%03d", allTags)

// A Member is a user of a population that audiences are selected from, by number.
// What it has is computed from that: five attributes of few to many values, some
// of them much more frequent, one of unique values, and five tags.
type Member uint64

// skewed returns a number below n that depends on the member and a salt. Small numbers
// are much more frequent: the number is the square of a uniform share.
func (m Member) skewed(salt, n uint64) int {
	share := float64(mix(mix(uint64(m))+salt)>>11) / (1 << 53)
	return int(share * share * float64(n))
}

// Account returns the member's UserID.
func (m Member) Account() string { return User(uint64(m)) }

// Values returns the member's attributes in the order of TraitNames.
func (m Member) Values() (values [len(traitValues) + 1]string) {
	for i, choice := range traitValues {
		values[i] = choice[m.skewed(uint64(i), uint64(len(choice)))]
	}
	values[len(traitValues)] = strconv.FormatUint(mix(uint64(m))|1<<63, 36) // all of a length
	return values
}

// Tags returns the member's five tags.
func (m Member) Tags() (tags [tagsEach]string) {
	var drawn [tagsEach]int
	for i, salt := 0, uint64(100); i < tagsEach; salt++ {
		t := m.skewed(salt, allTags)
		if slices.Contains(drawn[:i], t) {
			continue
		}
		drawn[i], tags[i] = t, tagNames[t]
		i++
	}
	return tags
}

// TraitNames are the attributes' names, by slot.
var TraitNames = []string{"plan", "platform", "region", "city", "version", Serial}

// AppendLine appends the member as a line of an import file, with the first
// attrs of its attributes.
func (m Member) AppendLine(dst []byte, attrs int) []byte {
	dst = append(dst, `{"To_Account":"`...)
	dst = appendUser(dst, uint64(m))
	dst = append(dst, `","Attrs":{`...)
	values := m.Values()
	for i, name := range TraitNames[:attrs] {
		dst = append(dst, '"')
		dst = append(append(append(dst, name...), `":"`...), values[i]...)
		dst = append(dst, `",`...)
	}
	dst = append(dst[:len(dst)-1], `},"Tags":[`...)
	for _, tag := range m.Tags() {
		dst = append(append(append(dst, '"'), tag...), `",`...)
	}
	return append(dst[:len(dst)-1], "]}\n"...)
}

// AppendTerms appends the member as a line of PostgreSQL's COPY: its number and
// an array of all that it has.
func (m Member) AppendTerms(dst []byte) []byte {
	dst = append(strconv.AppendUint(dst, uint64(m), 10), "\t{"...)
	values := m.Values()
	for i, name := range TraitNames {
		dst = append(append(append(dst, name...), '='), values[i]...)
		dst = append(dst, ',')
	}
	for _, tag := range m.Tags() {
		dst = append(append(append(dst, "tag="...), tag...), ',')
	}
	return append(dst[:len(dst)-1], "}\n"...)
}

// A Term is a value of an attribute, or with the Name "tag" a tag.
type Term struct{ Name, Value string }

// String returns the term as AppendTerms writes it.
func (t Term) String() string { return t.Name + "=" + t.Value }

func (t Term) where() string {
	if t.Name == "tag" {
		return fmt.Sprintf("tag(%q)", t.Value)
	}
	return fmt.Sprintf("%s == %q", t.Name, t.Value)
}

// A Question is a condition about a population. It selects the members who have at least
// one term of each list in All, and no term of None.
type Question struct {
	All  [][]Term
	None []Term
}

// Terms returns the member's terms: its attributes but the unique one, and its tags.
func (m Member) Terms() (terms []Term) {
	values := m.Values()
	for i := range traitValues {
		terms = append(terms, Term{TraitNames[i], values[i]})
	}
	for _, tag := range m.Tags() {
		terms = append(terms, Term{"tag", tag})
	}
	return terms
}

// Question5 returns a question of five clauses about terms of some members, so that it
// has frequent terms as often as members do.
func Question5(seed uint64) Question {
	a, b, c := Member(mix(seed)), Member(mix(seed+1)), Member(mix(seed+2))
	x, y, z := a.Terms(), b.Terms(), c.Terms()
	return Question{
		All:  [][]Term{{x[0]}, {x[2], y[2], x[5]}, {x[1], y[6]}},
		None: []Term{z[3], z[7]},
	}
}

// Question3 returns a question of three clauses.
func Question3(seed uint64) Question {
	a, b := Member(mix(seed)), Member(mix(seed+1))
	x, y := a.Terms(), b.Terms()
	return Question{All: [][]Term{{x[0]}, {x[5], y[6]}}, None: []Term{y[3]}}
}

// Question2 returns a light question of two clauses.
func Question2(seed uint64) Question {
	x := Member(mix(seed)).Terms()
	return Question{All: [][]Term{{x[0]}, {x[5]}}}
}

// HeavyWhere returns an expression that takes as long as any: it has as many terms as are
// allowed, and each is about half of a thousand values.
func HeavyWhere(seed uint64) string {
	const terms = 64
	var b strings.Builder
	for i := range terms {
		if i > 0 {
			b.WriteString([]string{" && ", " || "}[i%2])
		}
		fmt.Fprintf(&b, "%s >= %d", TraitNames[len(traitValues)-1], mix(seed*terms+uint64(i))%1000)
	}
	return b.String()
}

// Where returns the question as an expression of the API.
func (q Question) Where() string {
	var clauses []string
	for _, group := range q.All {
		var terms []string
		for _, t := range group {
			terms = append(terms, t.where())
		}
		clauses = append(clauses, "("+strings.Join(terms, " || ")+")")
	}
	for _, t := range q.None {
		clauses = append(clauses, "!("+t.where()+")")
	}
	return strings.Join(clauses, " && ")
}

// SQL returns the question as a query of the table users, which has lines of AppendTerms.
func (q Question) SQL() string {
	array := func(terms []Term) string {
		var quoted []string
		for _, t := range terms {
			quoted = append(quoted, "'"+t.String()+"'")
		}
		return "ARRAY[" + strings.Join(quoted, ",") + "]"
	}
	var clauses []string
	for _, group := range q.All {
		clauses = append(clauses, "terms && "+array(group))
	}
	return "SELECT count(*) FROM users WHERE " + strings.Join(clauses, " AND ") + " AND NOT terms && " + array(q.None)
}

// Estimate returns a workload that asks estimate_audience questions.
func Estimate(ask func(seed uint64) Question) Workload {
	return EstimateWhere(func(seed uint64) string { return ask(seed).Where() })
}

// EstimateWhere returns a workload that asks estimate_audience expressions.
func EstimateWhere(ask func(seed uint64) string) Workload {
	return Workload{Append: func(dst []byte, seq uint64) (string, []byte) {
		dst = append(dst, `{"Where":`...)
		return "tidings/estimate_audience", append(strconv.AppendQuote(dst, ask(seq)), '}')
	}}
}

// Retag returns a workload with n users of a population a request. Requests take turns:
// one gives each user two other attributes, one five other tags.
func Retag(u Users, n int) Workload {
	return Workload{Users: n, Append: func(dst []byte, seq uint64) (string, []byte) {
		setsAttrs := seq%2 == 0
		if setsAttrs {
			dst = append(dst, `{"UserAttrs":[`...)
		} else {
			dst = append(dst, `{"Replace":1,"UserTags":[`...)
		}
		for i := range uint64(n) {
			user := u.nth(seq*uint64(n) + i)
			model := Member(mix(user + seq))
			dst = append(dst, `{"To_Account":"`...)
			dst = appendUser(dst, user)
			if setsAttrs {
				values := model.Values()
				dst = append(append(append(dst, `","Attrs":{"plan":"`...), values[0]...), `","city":"`...)
				dst = append(append(dst, values[3]...), `"}},`...)
				continue
			}
			dst = append(dst, `","Tags":[`...)
			for _, tag := range model.Tags() {
				dst = append(append(append(dst, '"'), tag...), `",`...)
			}
			dst = append(dst[:len(dst)-1], `]},`...)
		}
		dst = append(dst[:len(dst)-1], `]}`...)
		if setsAttrs {
			return "timpush/set_attr", dst
		}
		return "timpush/add_tag", dst
	}}
}
