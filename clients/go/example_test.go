package doorbell_test

import (
	"context"
	"fmt"
	"log"

	doorbell "github.com/doorbell-sync/doorbell/clients/go"
)

func Example() {
	client, err := doorbell.New("http://127.0.0.1:8080")
	if err != nil {
		log.Fatal(err)
	}
	var prices doorbell.State
	for event, err := range client.Follow(context.Background(), "prices:BTC-KRW", doorbell.FollowOptions{}) {
		if err != nil {
			log.Fatal(err)
		}
		if prices.Apply(event); event.Kind == doorbell.CaughtUp {
			fmt.Println(prices.Cursor, string(prices.Items["last"].Value))
		}
	}
}
