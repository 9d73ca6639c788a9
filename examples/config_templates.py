"""An nginx.conf from values and templates that are kept on a server.

Run it with `python examples/config_templates.py`. It starts a Kinto inside the program; with
KINTO_ORM_SERVER and KINTO_ORM_AUTH set it uses that server, and the user's own bucket there.
"""

import os

from kinto_orm import Session, Template, TemplateSyntaxError, UndefinedVariable

SITES = {
    "shop": {"host": "shop.example", "port": 8001, "cache": "10m"},
    "blog": {"host": "blog.example", "port": 8002, "cache": None},
}

NGINX = """\
worker_processes {{ workers }};
{% from "proxy.macros" import proxy %}
http {
{%- for name, site in sites.items() %}
    server {
        server_name {{ site.host }};
        {{- proxy(name, site.port) }}
{%- if site.cache %}
        proxy_cache_valid 200 {{ site.cache }};
{%- endif %}
    }
{%- endfor %}
}
"""

PROXY = """\
{% macro proxy(name, port) %}
        location / {
            proxy_pass http://127.0.0.1:{{ port }};  # {{ name }}
        }
{%- endmacro %}
"""


def main() -> None:
    """Store values and templates, and render them."""
    with Session(os.environ.get("KINTO_ORM_SERVER") or "memory://") as session:
        store_all(session)
        template = Template.get("nginx.conf")
        print(f"# {template.name} takes {', '.join(sorted(template.variables()))}\n")
        print(template.render())
        change_one_value(session, template)
        make_mistakes(template)


def store_all(session: Session) -> None:
    session.kv["sites"] = SITES
    session.kv["workers"] = 2
    for name, source in {"nginx.conf": NGINX, "proxy.macros": PROXY}.items():
        Template(name=name, source=source).save(force=True)


def change_one_value(session: Session, template: Template) -> None:
    session.kv["sites/blog/port"] = 9002
    changed = set(template.render().splitlines()) - set(template.render(sites=SITES).splitlines())
    print("# After a change of one value:", *changed, sep="\n")
    print("# Tried out with other values:", template.render(workers=8).splitlines()[0], sep="\n")


def make_mistakes(template: Template) -> None:
    try:
        template.render(sites={"new": {"host": "new.example"}})
    except UndefinedVariable as error:
        print("# Not rendered:", error)
    template.source = template.source.replace("{%- endfor %}", "")
    try:
        template.save()
    except TemplateSyntaxError as error:
        print("# Not saved:", error)


if __name__ == "__main__":
    main()
