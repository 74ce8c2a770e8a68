// A user's journey with openapi-fetch and the types that openapi-typescript generates.
// The argument is the API's address. Prints the statuses and problems of the journey as JSON.

import createClient from "openapi-fetch";

import type { components, paths } from "./schema";

declare const process: { argv: string[]; stdout: { write(text: string): void } };

type QuotaProblem =
  paths["/chatroom/{id}/message"]["post"]["responses"][429]["content"]["application/problem+json"];

const PATIENCE = 60_000; // milliseconds for a reply to arrive

function random(): string {
  return crypto.randomUUID();
}

function assert(condition: unknown, about: unknown): asserts condition {
  if (!condition) throw new Error(JSON.stringify(about));
}

type Conflict =
  | "urn:geminichat:problem:concurrent-requests"
  | "urn:geminichat:problem:identity-taken";

async function main(baseUrl: string): Promise<object> {
  const api = createClient<paths>({ baseUrl });
  const account = {
    email: `typescript-${random()}@example.com`,
    password: random(),
  };

  const signedUp = await api.POST("/auth/signup", { body: account });
  assert(signedUp.data?.data.token, signedUp.error);
  const headers = { authorization: `Bearer ${signedUp.data.data.token}` };

  const opened = await api.POST("/chatroom", { headers, body: { title: "Clients" } });
  assert(opened.data, opened.error);
  const id = opened.data.data.id;

  const send = (content: string, key: string) =>
    api.POST("/chatroom/{id}/message", {
      headers,
      params: { path: { id }, header: { "Idempotency-Key": key } },
      body: { content },
    });

  // Sends a prompt and waits for its end, because only a few may be in flight.
  async function ask(content: string, key: string) {
    const sent = await send(content, key);
    assert(sent.data, sent.error);
    const messageId = sent.data.data.messageId;
    const deadline = Date.now() + PATIENCE;
    let status: components["schemas"]["Status"] | undefined;
    while (status !== "answered" && Date.now() < deadline) {
      const path = { id, messageId };
      const found = await api.GET("/chatroom/{id}/message/{messageId}", {
        headers,
        params: { path },
      });
      assert(found.data, found.error);
      status = found.data.data.status;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    return status;
  }

  const status = await ask("What is a queue good for?", "first");
  const reused = await send("Something else?", "first");
  assert(reused.error?.status === 422, reused);
  for (const number of [1, 2, 3, 4]) {
    await ask("And then?", `more-${number}`);
  }
  const exceeded = await send("And then?", "last");
  // Each of the two assertions on `status` narrows the union of errors to one status.
  assert(exceeded.error?.status === 429, exceeded);
  const quota: QuotaProblem = exceeded.error;
  const taken = await api.POST("/auth/signup", { body: account });
  assert(taken.error?.status === 409, taken);
  const kind: Conflict = taken.error.type;

  return {
    status,
    problems: [
      { status: reused.error.status, type: reused.error.type },
      { status: quota.status, type: quota.type },
      { status: taken.error.status, type: kind },
    ],
    resetsAt: quota.resetsAt,
  };
}

main(process.argv[2]!).then((seen) => process.stdout.write(JSON.stringify(seen)));
