"""A tour in the terminal: typed models on a real Kinto server that runs inside this program.

Run it with `make demo`, or with `python examples/todo.py`. Nothing is left behind.
"""

import json
from datetime import date

import requests
from pydantic import ValidationError
from requests.auth import HTTPBasicAuth

from kinto_orm import Bucket, Conflict, Everyone, Forbidden, Record, Session


class Todo(Record, collection="todos"):
    """One thing to do."""

    title: str
    done: bool = False
    due: date | None = None
    tags: list[str] = []


class ShowRequests(HTTPBasicAuth):
    """Logs in as a user, and prints each request that is sent."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Print the request, then put the credentials on it."""
        print(f"   -> {request.method} {request.path_url.removeprefix('/v1')}")
        for name in ("If-None-Match", "If-Match"):
            if name in request.headers:
                print(f"      {name}: {request.headers[name]}")
        if request.body:
            print(f"      {json.dumps(json.loads(request.body))}")
        return super().__call__(request)


def main() -> None:
    """Tell the story from the first save to the deletion."""
    auth = ShowRequests("ada", "secret")
    with Session("memory://demo", auth=auth, bucket="home") as session:
        open_the_server(session)
        todo = create()
        change(todo)
        save_what_is_clean(todo)
        be_refused(todo)
        meet_a_conflict(todo)
        let_others_read(todo)
        delete(todo)
    print("\nThat was a real Kinto server, in memory. It ends with this program.")


def open_the_server(session: Session) -> None:
    title("A Kinto server starts in this process")
    print(f"   {session.server_url} is Kinto {session.server_info().version}")
    Bucket(id="home").save().collections.new(id="todos").save()


def create() -> Todo:
    title('Create:  todo = Todo(id="report", title="Write the report").save()')
    todo = Todo(id="report", title="Write the report", due=date(2030, 1, 31)).save()
    print(f"   The server made: {todo!r}")
    return todo


def change(todo: Todo) -> None:
    title('Change two fields:  todo.done = True; todo.tags.append("urgent"); todo.save()')
    todo.done = True
    todo.tags.append("urgent")
    print(f"   Not saved yet: {todo.diff()}")
    todo.save()
    print("   Only the changed fields were sent.")


def save_what_is_clean(todo: Todo) -> None:
    title("Save again:  todo.save()")
    todo.save()
    print("   Nothing had changed, so nothing was sent.")


def be_refused(todo: Todo) -> None:
    title('A misspelt field:  todo.titel = "Write it"')
    try:
        todo.titel = "Write it"  # type: ignore[attr-defined]
    except ValidationError as error:
        print(f"   Refused before sending: {error.errors()[0]['msg']}")
    title('A wrong type:  todo.due = "soon"')
    try:
        todo.due = "soon"  # type: ignore[assignment]
    except ValidationError as error:
        print(f"   Refused before sending: {error.errors()[0]['msg']}")


def meet_a_conflict(todo: Todo) -> None:
    title("Two programs change the same todo. The other one is first:")
    other = Todo.get("report")
    other.title = "Write the annual report"
    other.save()
    title("Then we save our change, made on the old state:")
    todo.tags.append("today")
    try:
        todo.save()
    except Conflict as conflict:
        print("   Refused: Conflict. The other program's change is not lost.")
        print(f"   Loaded: {conflict.base.title!r}, now on the server: {conflict.remote.title!r}")
        title("We changed other fields than they did, so both changes fit together:")
        conflict.merge().save()
    print(f"   Merged: {todo.title!r}, {todo.tags}")


def let_others_read(todo: Todo) -> None:
    title("Bob, another user, asks for the todo:")
    bob = Session("memory://demo", auth=("bob", "secret"), bucket="home")
    try:
        Todo.get("report", session=bob)
    except Forbidden as error:
        print(f"   Refused: Forbidden, status {error.status}")
    title('Share:  todo.permissions.grant("read", Everyone).save()')
    todo.permissions.grant("read", Everyone).save()
    print(f"   Bob reads: {Todo.get('report', session=bob).title!r}")
    bob.close()


def delete(todo: Todo) -> None:
    title("Delete:  todo.delete()")
    print(f"   Left on the server: {todo.delete()}")
    print(f"   Todo.get_or_none('report') gives {Todo.get_or_none('report')}")


def title(text: str) -> None:
    print(f"\n{text}")


if __name__ == "__main__":
    main()
