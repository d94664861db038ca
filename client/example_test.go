package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"tidings/client"
)

// exampleServer stands for a Tidings server. It knows the account mary and the
// attributes plan and city.
func exampleServer() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		answer := `"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0`
		if strings.Contains(string(body), "ghost") {
			answer += `,"ErrorList":[{"To_Account":"ghost","ErrorCode":70107,"ErrorInfo":"account does not exist"}]`
		}
		switch {
		case strings.Contains(string(body), "shoe_size"):
			answer = `"ActionStatus":"FAIL","ErrorInfo":"invalid attribute: shoe_size","ErrorCode":90033`
		case strings.HasSuffix(r.URL.Path, "/get_attr"):
			answer += `,"UserAttrs":[{"To_Account":"mary","Attrs":{"plan":"gold"}}]`
		case strings.HasSuffix(r.URL.Path, "/get_attr_name"):
			answer += `,"AttrNames":{"0":"plan","1":"city"}`
		case strings.HasSuffix(r.URL.Path, "/get_tag"):
			answer += `,"UserTags":[{"To_Account":"mary","Tags":["news","beta"]}]`
		case strings.HasSuffix(r.URL.Path, "/preview_push"):
			answer += `,"PlanId":"plan_AAAA","Accounts":1200,"Devices":1080,"LeftOut":[{"Reason":"permission off","Why":"the person does not permit notifications","Devices":130}]`
		case strings.HasSuffix(r.URL.Path, "/push"):
			answer += `,"TaskId":"6a1f20c4_1_19d3b7e84c02a5f6"`
		case strings.HasSuffix(r.URL.Path, "/explain_delivery"):
			answer += `,"Sentence":"\"mary\", Pixel 9: the person does not permit notifications.","Advice":"Only the person can change that, in the settings of the device."`
		case strings.HasSuffix(r.URL.Path, "/account_check"):
			answer += `,"ResultItem":[{"UserID":"mary","ResultCode":0,"AccountStatus":"Imported"},{"UserID":"bob","ResultCode":0,"AccountStatus":"NotImported"}]`
		}
		_, _ = io.WriteString(w, "{"+answer+"}")
	}))
}

// Name the attributes of an app, make an account and give it attributes.
func Example() {
	server := exampleServer()
	defer server.Close()
	ctx := context.Background()

	c, err := client.New(server.URL, 1400000001, "the secret key of the app")
	if err != nil {
		log.Fatal(err)
	}
	if err := c.SetAttrNames(ctx, map[int]client.AttrName{0: {Name: "plan"}, 1: {Name: "city"}}); err != nil {
		log.Fatal(err)
	}
	if err := c.ImportAccount(ctx, client.Account{UserID: "mary", Nick: new("Mary")}); err != nil {
		log.Fatal(err)
	}
	if err := c.SetAttrs(ctx, []client.UserAttrs{{Account: "mary", Attrs: map[string]string{"plan": "gold"}}}); err != nil {
		log.Fatal(err)
	}
	users, err := c.Attrs(ctx, []string{"mary"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(users[0].Account, users[0].Attrs["plan"])
	// Output: mary gold
}

// A refused command changes nothing and says why.
func ExampleClient_RemoveAttrs() {
	server := exampleServer()
	defer server.Close()
	c, err := client.New(server.URL, 1400000001, "the secret key of the app")
	if err != nil {
		log.Fatal(err)
	}

	err = c.RemoveAttrs(context.Background(), []client.AttrRemoval{{Account: "mary", Names: []string{"shoe_size"}}})
	if errors.Is(err, client.ErrInvalidAttribute) {
		fmt.Println(err)
	}
	// Output: timpush/remove_attr: 90033 invalid attribute: shoe_size
}

// Accounts that fail come as an error, together with the results for the others.
func ExampleAccountErrors() {
	server := exampleServer()
	defer server.Close()
	c, err := client.New(server.URL, 1400000001, "the secret key of the app")
	if err != nil {
		log.Fatal(err)
	}

	users, err := c.Attrs(context.Background(), []string{"mary", "ghost"})
	if failed, ok := errors.AsType[*client.AccountErrors](err); ok {
		for _, f := range failed.List {
			fmt.Println("failed:", f.Account, f.Code == client.ErrUnknownAccount)
		}
	} else if err != nil {
		log.Fatal(err)
	}
	fmt.Println("read:", len(users))
	// Output:
	// failed: ghost true
	// read: 1
}

// Commands without a method are made with Call.
func ExampleClient_Call() {
	server := exampleServer()
	defer server.Close()
	c, err := client.New(server.URL, 1400000001, "the secret key of the app")
	if err != nil {
		log.Fatal(err)
	}

	in := struct {
		Accounts []string `json:"To_Account"`
	}{[]string{"mary"}}
	var out struct {
		UserTags []struct {
			Account string `json:"To_Account"`
			Tags    []string
		}
	}
	if err := c.Call(context.Background(), "timpush/get_tag", in, &out); err != nil {
		log.Fatal(err)
	}
	fmt.Println(out.UserTags[0].Account, out.UserTags[0].Tags)
	// Output: mary [news beta]
}

// A program that is not trusted with the secret key gets its tickets from one
// that is.
func ExampleWithTicketSource() {
	server := exampleServer()
	defer server.Close()

	fetch := func(context.Context) (string, error) { return "a ticket from the vault", nil }
	c, err := client.New(server.URL, 1400000001, "",
		client.WithTicketSource(fetch),
		client.WithIdentifier("ops"),
		client.WithRetry(client.Retry{Attempts: 6, Max: 30 * time.Second}))
	if err != nil {
		log.Fatal(err)
	}
	exist, err := c.CheckAccounts(context.Background(), []string{"mary", "bob"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(exist["mary"], exist["bob"])
	// Output: true false
}

// Look at what a push would come to, push exactly that, and ask why somebody did not get it.
func ExampleClient_Push() {
	server := exampleServer()
	defer server.Close()
	ctx := context.Background()
	c, err := client.New(server.URL, 1400000001, "the secret key of the app")
	if err != nil {
		log.Fatal(err)
	}

	p := client.Push{
		Where:        `plan == "gold" && !tag("muted")`,
		Notification: &client.Notification{Title: "Gold week", Desc: "Two for one until Sunday."},
	}
	preview, err := c.Preview(ctx, p)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(preview.Accounts, "users,", preview.Devices, "devices")
	for _, l := range preview.LeftOut {
		fmt.Println(l.Devices, "left out:", l.Why)
	}

	p.PlanID = preview.PlanID
	id, err := c.Push(ctx, p)
	if err != nil {
		log.Fatal(err)
	}
	why, err := c.ExplainDelivery(ctx, id, "mary")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(why.Sentence)
	// Output:
	// 1200 users, 1080 devices
	// 130 left out: the person does not permit notifications
	// "mary", Pixel 9: the person does not permit notifications.
}
