"""Says hello; and of what a connector hands over, which is a list of log records, writes down a line each.

`handler` is called with the body of each call. What it returns is the answer; what it logs or prints becomes log
records of the function.
"""
import io
import json
import logging

from fdk import response


def handler(ctx, data: io.BytesIO = None):
    body = data.getvalue() if data else b""
    given = json.loads(body) if body.strip() else {}
    if isinstance(given, list):
        for record in given:
            logging.getLogger().info("%s %s %s", record.get("time"), record.get("type"), record.get("source"))
        answer = {"records": len(given)}
    else:
        name = given.get("name", "World") if isinstance(given, dict) else "World"
        logging.getLogger().info("greeting %s", name)
        answer = {"message": f"Hello {name}"}
    return response.Response(
        ctx, response_data=json.dumps(answer), headers={"Content-Type": "application/json"}
    )
